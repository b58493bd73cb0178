"""The component beside each sidecar: the one does not live without the other, and no task is lost with them."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.in_flight import answered, begun, slow_model
from tests.support.whole import Whole, whole

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with whole(tmp_path_factory.mktemp("zeromq"), {"DOVECOTE_RESEND_AFTER": "3"}, broker="zeromq") as system:
        yield system


@pytest.fixture
def system(running: Whole) -> Whole:
    running.system.wait_ready()
    return running


@pytest.fixture
def mark(system: Whole) -> str:
    """A word of the test's own, which a slow model answers with."""
    return slow_model(system)


def sidecar_process(system: Whole, app: str) -> psutil.Process:
    """The sidecar itself, which is the one child of the program that serves its component."""
    [child] = psutil.Process(system.system.pid(f"{app}-daprd")).children()
    return child


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("app", ["researcher", "gateway"])
def test_a_killed_component_comes_back_with_its_sidecar_and_loses_nothing(
    system: Whole, mark: str, tmp_path: Path, app: str
) -> None:
    task = begun(system, mark, "find", tmp_path)
    sidecar = sidecar_process(system, app)
    component = system.system.pid(f"{app}-daprd")
    assert component is not None
    os.kill(component, signal.SIGKILL)
    answered(system, task, mark)
    assert gone(sidecar)
    assert system.system.pid(f"{app}-daprd") not in {component, None}


def test_a_killed_sidecar_comes_back_with_its_component_and_loses_nothing(
    system: Whole, mark: str, tmp_path: Path
) -> None:
    task = begun(system, mark, "find", tmp_path)
    component = psutil.Process(system.system.pid("orchestrator-daprd"))
    sidecar_process(system, "orchestrator").kill()
    answered(system, task, mark)
    assert gone(component)


def test_a_question_asked_while_the_broker_is_away_is_answered_when_it_is_back(
    system: Whole, mark: str, tmp_path: Path
) -> None:
    system.system.halt("zeromq")
    task = system.start(f"What does {mark} hold?", tmp_path)
    system.system.resume("zeromq")
    answered(system, task, mark)
