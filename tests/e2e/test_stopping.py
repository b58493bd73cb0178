"""A replica that is stopped under load as a pod is, without the launcher: nothing is lost, nobody is refused."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.runfile import load_run_file
from deploy.local.system import System
from tests.support.checkout import changeable_checkout
from tests.support.eventually import eventually
from tests.support.load import Load
from tests.support.whole import replica

pytestmark = pytest.mark.timeout(600)
DELAY = 2  # seconds that endpoints have to learn of the stop
REPLICAS = ["worker", "worker-2"]
BEFORE = 100  # answers until the stop
AFTER = 300  # answers after it
CONSUMED_ANEW = 40.0  # seconds until Redis hands out again what a sidecar had fetched and not delivered


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each task that is done is a file."""
    return tmp_path_factory.mktemp("done")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, done: Path) -> Iterator[System]:
    checkout = changeable_checkout(tmp_path_factory.mktemp("any") / "checkout")
    redis = checkout / "components" / "pubsub" / "redis" / "pubsub.yaml"
    redis.write_text(redis.read_text().replace("value: 40s", "value: 8s"))
    [directory] = load_run_file(checkout / "dapr.yaml").select(["directory"])
    command = (*directory.command[:-1], "tests.support.worker")
    worker = replica(directory).model_copy(update={"app_id": "worker", "command": command})
    env = {"DOVECOTE_STOP_DELAY": str(DELAY), "WORKER_SECONDS": "0.05", "WORKER_DONE": str(done)}
    home = tmp_path_factory.mktemp("home")
    apps = [directory, worker, replica(worker)]
    with System(checkout, home, apps=apps, with_model=False, restart=False, env=env) as system:
        yield system


@pytest.fixture
def stopped(system: System) -> Iterator[str]:
    """The replica that a test stops; it runs again afterwards."""
    yield REPLICAS[0]
    for name in (REPLICAS[0], f"{REPLICAS[0]}-daprd"):
        system.resume(name)
    system.wait_ready()


def finished(done: Path) -> set[str]:
    """The tasks that are done, each once."""
    times = dict(file.name.rsplit(".", 1) for file in done.iterdir())
    assert set(times.values()) <= {"1"}
    return set(times)


async def gone(system: System, name: str) -> None:
    await eventually(lambda: system.pid(name) is None, f"the end of {name}", 60)


def end(system: System, name: str) -> None:
    pid = system.pid(name)
    assert pid is not None
    os.kill(pid, signal.SIGTERM)


async def at_once(system: System, name: str) -> None:
    """As a pod with a plain sidecar: both are told at the same moment."""
    end(system, f"{name}-daprd")
    end(system, name)


async def app_first(system: System, name: str) -> None:
    """The same, where the app is the quicker one."""
    end(system, name)
    await asyncio.sleep(0.5)
    end(system, f"{name}-daprd")


async def sidecar_last(system: System, name: str) -> None:
    """As a pod with a native sidecar, which is told when the app has ended; or a restart of the app alone."""
    end(system, name)
    await gone(system, name)


@pytest.mark.parametrize("way", [at_once, app_first, sidecar_last])
async def test_a_stop_under_load_loses_nothing_and_refuses_nobody(
    system: System, stopped: str, done: Path, way: Callable[[System, str], Awaitable[None]]
) -> None:
    load = Load(system, "directory", REPLICAS)
    async with load.running():
        await eventually(lambda: load.answered > BEFORE, "a load", 30)
        await way(system, stopped)
        await gone(system, stopped)
        before = load.answered
        await eventually(lambda: load.answered > before + AFTER, "a load after the stop", 30)
    await gone(system, f"{stopped}-daprd")
    assert load.failures == []
    if way is not sidecar_last:  # which goes on delivering while it ends, and delivers that again elsewhere
        assert "connection refused" not in system.log(f"{stopped}-daprd")
        assert "Traceback" not in system.log(stopped)
    await eventually(lambda: set(load.published) <= finished(done), "all tasks done", CONSUMED_ANEW)
