"""What the launcher makes of a pub/sub component that is a program of its own."""

from pathlib import Path

import pytest

from deploy.local import pluggable
from deploy.local.plan import Folders, services
from deploy.local.runfile import load_run_file
from deploy.local.spawning import Program

CHECKOUT = Path(__file__).resolve().parents[2]
COMPONENTS = CHECKOUT / "components" / "pubsub"
SIDECAR = Program("writer-daprd", ("daprd", "--app-id=writer"), Path("/home"), {"PATH": "/bin"})


def socket_of(program: Program) -> Path:
    return next(Path(word) for word in program.command if word.endswith(".sock"))


def test_each_sidecar_gets_a_component_with_a_socket_folder_of_its_own(tmp_path: Path) -> None:
    apps = load_run_file(CHECKOUT / "dapr.yaml").select(["researcher", "writer", "writer"])
    planned = services(apps, Folders(CHECKOUT, tmp_path, broker="zeromq"), Path("daprd"), 0, {})
    sockets = [socket_of(service.sidecar) for service in planned]
    assert len({socket.parent for socket in sockets}) == 3
    for service, socket in zip(planned, sockets, strict=True):
        assert socket.name == "zeromq.sock"
        assert service.sidecar.env["DAPR_COMPONENTS_SOCKETS_FOLDER"] == str(socket.parent)


def test_the_component_starts_the_sidecar_as_it_would_be_started_alone(tmp_path: Path) -> None:
    program = pluggable.with_component(SIDECAR, tmp_path)
    assert program.command[-2:] == SIDECAR.command
    assert program.command.index("component") < program.command.index("daprd")
    assert "--directory=/home" in program.command
    assert (program.name, program.stop_seconds) == (SIDECAR.name, SIDECAR.stop_seconds)


def test_a_sidecar_of_another_broker_is_started_alone(tmp_path: Path) -> None:
    apps = load_run_file(CHECKOUT / "dapr.yaml").select(["writer"])
    [service] = services(apps, Folders(CHECKOUT, tmp_path), Path("daprd"), 0, {})
    assert service.sidecar.command[0] == "daprd"


def test_a_socket_in_a_deep_folder_is_where_the_kernel_takes_its_path(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 30)
    sockets = {
        socket_of(pluggable.with_component(sidecar, deep))
        for sidecar in (SIDECAR, Program("reviewer-daprd", (), Path("/"), {}))
    }
    assert len(sockets) == 2
    assert max(len(str(socket)) for socket in sockets) <= 103


def test_only_the_component_that_needs_it_has_a_broker_started() -> None:
    assert pluggable.settings_of([COMPONENTS / "redis", CHECKOUT / "components" / "shared"]) is None
    settings = pluggable.settings_of([COMPONENTS / "zeromq"])
    assert pluggable.needs_broker(settings, {})
    assert not pluggable.needs_broker(settings, {"ZEROMQ_HOST": "192.168.1.100"})
    assert not pluggable.needs_broker({**(settings or {}), "proxy_mode": "embedded"}, {})
    assert not pluggable.needs_broker(None, {})


def test_the_broker_is_where_the_components_look_and_holds_as_much_as_their_file_says() -> None:
    env = pluggable.addresses({}, 400)
    command = pluggable.broker({"high_water_mark": "7", "connect_timeout": "1"}, env).command
    assert command[command.index("broker") + 1 :] == (
        "high_water_mark=7",
        "broker_address=127.0.0.1",
        f"port={pluggable.PORT + 400}",
        f"backend_port={pluggable.BACKEND_PORT + 400}",
    )


@pytest.mark.parametrize(
    ("given", "port"), [({}, "5555"), ({"ZEROMQ_PORT": "6000", "ZEROMQ_BACKEND_PORT": "6001"}, "6000")]
)
def test_a_broker_of_the_users_own_is_at_the_usual_ports_unless_told(given: dict[str, str], port: str) -> None:
    env = pluggable.addresses({"ZEROMQ_HOST": "192.168.1.100", **given}, 400)
    assert (env["ZEROMQ_HOST"], env["ZEROMQ_PORT"]) == ("192.168.1.100", port)
