"""A system with real sidecars: it starts, it recovers, it says what is wrong."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.local import servers
from deploy.local.errors import CrashLoopError, LauncherError, NotReadyError, PortTakenError, UnreachableError
from deploy.local.runfile import App
from deploy.local.system import System
from tests.support.checkout import ROOT, processes_of, write_checkout

TINY = "tests.support.tiny_app"
# The first start on a machine may have to build the Dapr runtime.
pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    home = tmp_path_factory.mktemp("home")
    checkout = write_checkout(tmp_path_factory.mktemp("checkout"), gateway=TINY, echo=TINY)
    with System(checkout, home, apps=["gateway", "echo"], with_model=False) as system:
        yield system


def invoke_echo(system: System) -> httpx.Response:
    return httpx.get(f"{system.sidecar_url('gateway')}/v1.0/invoke/echo/method/readyz", timeout=30)


def save(system: System, value: str) -> None:
    state = [{"key": "kept", "value": value}]
    httpx.post(f"{system.sidecar_url('echo')}/v1.0/state/statestore", json=state, timeout=30).raise_for_status()


def saved(system: System) -> object:
    return (
        httpx.get(f"{system.sidecar_url('echo')}/v1.0/state/statestore/kept", timeout=30).raise_for_status().json()
    )


def environment(system: System, app: str, name: str) -> object:
    return httpx.get(f"{system.url(app)}/environment/{name}").raise_for_status().json()


def test_apps_reach_each_other_by_name_through_their_sidecars(system: System) -> None:
    assert invoke_echo(system).json() == "ready"


def test_apps_and_components_get_the_same_environment(system: System) -> None:
    for name in ("REDIS_HOST", "REDIS_PASSWORD", "DEMO_MODEL_URL", "DAPR_HOST_IP"):
        assert environment(system, "echo", name) == system.env[name] != ""
    assert environment(system, "echo", "APP_ID") == "echo"
    assert system.url("echo").endswith(f":{environment(system, 'echo', 'APP_PORT')}")
    assert system.sidecar_url("echo").endswith(f":{environment(system, 'echo', 'DAPR_HTTP_PORT')}")


def test_a_killed_app_comes_back_while_its_sidecar_stays(system: System) -> None:
    before = system.pid("echo"), system.pid("echo-daprd")
    system.kill("echo")
    system.wait_ready()
    assert system.pid("echo") not in {None, before[0]}
    assert system.pid("echo-daprd") == before[1]
    assert invoke_echo(system).json() == "ready"


def test_a_killed_sidecar_comes_back_while_its_app_stays(system: System) -> None:
    before = system.pid("echo"), system.pid("echo-daprd")
    system.kill_sidecar("echo")
    system.wait_ready()
    assert system.pid("echo") == before[0]
    assert system.pid("echo-daprd") not in {None, before[1]}
    assert invoke_echo(system).json() == "ready"


def test_state_outlives_the_death_of_its_server(system: System) -> None:
    save(system, "before the crash")
    system.kill("redis")
    system.wait_ready()
    assert saved(system) == "before the crash"


def test_an_app_that_is_halted_stays_away_until_it_is_resumed(system: System) -> None:
    system.halt("echo")
    assert system.pid("echo") is None
    with pytest.raises(NotReadyError, match=r"(?s)not ready after 0.5 s:.*echo: .*does not answer"):
        system.wait_ready(0.5)
    system.resume("echo")
    system.wait_ready()
    assert invoke_echo(system).json() == "ready"


def test_the_password_is_kept_where_only_its_owner_reads_it(system: System) -> None:
    path = system.env_file
    assert path.stat().st_mode & 0o777 == 0o600
    assert (path.parent / "redis.password").stat().st_mode & 0o777 == 0o600
    assert f"export REDIS_HOST={system.env['REDIS_HOST']}\n" in path.read_text()
    assert system.env["REDIS_PASSWORD"] not in " ".join(
        word for process in processes_of(path.parent.parent) for word in process.cmdline()
    )


def test_every_server_listens_on_the_loopback_only(system: System) -> None:
    home = system.env_file.parent.parent
    health = {servers.PLACEMENT_HEALTH + system.offset, servers.SCHEDULER_HEALTH + system.offset}
    listening = [
        connection.laddr[0]
        for process in processes_of(home)
        for connection in process.net_connections("inet")
        if connection.status == "LISTEN" and connection.laddr[1] not in health
    ]
    assert len(listening) > 10
    assert {address for address in listening if address not in {"127.0.0.1", "::1"}} == set()


def test_an_unknown_process_is_refused_with_the_names_there_are(system: System) -> None:
    with pytest.raises(LauncherError, match=r"no process 'eko'; there are: .*redis.*echo.*echo-daprd"):
        system.kill("eko")


def test_two_systems_of_one_checkout_run_at_once_in_two_homes(system: System, tmp_path: Path) -> None:
    checkout = write_checkout(tmp_path / "checkout", gateway=TINY, echo=TINY)
    save(system, "the first")
    with System(checkout, tmp_path, with_model=False) as second:
        save(second, "the second")
        assert saved(system) == "the first"
        assert invoke_echo(second).json() == invoke_echo(system).json() == "ready"
    assert processes_of(tmp_path) == []
    assert invoke_echo(system).json() == "ready"


def test_state_is_there_after_a_stop_and_a_start_and_nothing_runs_in_between(tmp_path: Path) -> None:
    checkout = write_checkout(tmp_path / "checkout", echo=TINY)
    with System(checkout, tmp_path, with_model=False) as system:
        save(system, "kept")
    assert processes_of(tmp_path) == []
    with System(checkout, tmp_path, with_model=False) as system:
        assert saved(system) == "kept"


def test_two_replicas_of_one_app_run_beside_each_other(tmp_path: Path) -> None:
    app = App(app_id="echo", command=(sys.executable, "-m", TINY))
    with System(ROOT, tmp_path, apps=[app, app], with_model=False) as system:
        assert environment(system, "echo", "APP_ID") == environment(system, "echo-2", "APP_ID") == "echo"
        assert system.url("echo") != system.url("echo-2")


def test_a_component_that_cannot_be_loaded_is_named_as_the_sidecar_names_it(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "cache.yaml").write_text(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: cache\n"
        "spec:\n  type: state.sqlite\n  version: v1\n  metadata:\n    - name: busyTimeout\n      value: soon\n"
    )
    checkout = write_checkout(tmp_path / "checkout", echo=TINY)
    system = System(checkout, tmp_path, with_model=False, resources=[broken])
    with pytest.raises(CrashLoopError, match=r"(?s)echo-daprd fails again and again.*cache.*state\.sqlite"), system:
        pass
    assert processes_of(tmp_path) == []


def test_the_gateway_gets_the_port_that_the_user_fixed_or_says_that_it_is_taken(tmp_path: Path) -> None:
    checkout = write_checkout(tmp_path / "checkout", gateway=TINY)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        system = System(checkout, tmp_path, with_model=False, env={"DOVECOTE_PORT": str(port)})
        with pytest.raises(PortTakenError, match=rf"port {port} is taken by process {os.getpid()} .*DOVECOTE_PORT"):
            system.start()
    with system:
        assert system.url() == f"http://127.0.0.1:{port}"
        assert httpx.get(f"{system.url()}/readyz").json() == "ready"


def test_a_redis_of_the_users_own_that_does_not_answer_is_named(tmp_path: Path) -> None:
    checkout = write_checkout(tmp_path / "checkout", echo=TINY)
    system = System(checkout, tmp_path, with_model=False, env={"REDIS_HOST": "127.0.0.1:1"})
    with pytest.raises(UnreachableError, match=r"REDIS_HOST names '127\.0\.0\.1:1', where nothing answers"):
        system.start()
    assert processes_of(tmp_path) == []


def test_a_redis_of_the_users_own_is_used_and_no_other_started(system: System, tmp_path: Path) -> None:
    checkout = write_checkout(tmp_path / "checkout", echo=TINY)
    env = {name: system.env[name] for name in ("REDIS_HOST", "REDIS_PASSWORD")}
    with System(checkout, tmp_path, with_model=False, env=env) as second:
        save(second, "over there")
        assert saved(system) == "over there"
        with pytest.raises(LauncherError, match="no process 'redis'"):
            second.pid("redis")


def test_an_app_that_stops_by_a_signal_from_outside_comes_back(system: System) -> None:
    pid = system.pid("gateway")
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    system.wait_ready()
    system.halt("gateway")
    assert "Traceback" not in system.log("gateway")
    system.resume("gateway")
    system.wait_ready()
