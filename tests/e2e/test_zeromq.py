"""The component beside each sidecar: the one does not live without the other, and no task is lost with them."""

import json
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import wait_until
from tests.support.whole import Whole, whole

pytestmark = pytest.mark.timeout(180)

SLOW = {
    "rules": [
        {"name": "find", "when": {"system": "clerk"}, "delay": 0.5, "text": "Found by MARK."},
        {"name": "write", "when": {"system": "write the answer"}, "delay": 0.5, "text": "Written for MARK."},
        {"name": "review", "when": {"system": "check the draft"}, "delay": 0.5, "text": "APPROVE"},
    ]
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with whole(tmp_path_factory.mktemp("zeromq"), {"DOVECOTE_RESEND_AFTER": "3"}, broker="zeromq") as system:
        yield system


@pytest.fixture
def system(running: Whole) -> Whole:
    running.system.wait_ready()
    running.model.set_script({})
    running.model.reset()
    return running


@pytest.fixture
def mark(system: Whole) -> str:
    """A word of the test's own, which a slow model answers with."""
    word = uuid.uuid4().hex
    system.model.set_script(json.loads(json.dumps(SLOW).replace("MARK", word)))
    return word


def begin(system: Whole, mark: str, docs: Path) -> str:
    """Ask, and return the task when its researcher is at work."""
    task = system.start(f"What does {mark} hold?", docs)
    wait_until(lambda: "find" in system.model.totals()["rules"], "the researcher's model call", 20)
    return task


def finish(system: Whole, task: str, mark: str) -> None:
    result = system.result(task, 120)
    assert result["status"] == "completed", result["error"]
    assert result["answer"]["text"] == f"Written for {mark}."
    system.system.wait_ready()


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
    task = begin(system, mark, tmp_path)
    sidecar = sidecar_process(system, app)
    component = system.system.pid(f"{app}-daprd")
    assert component is not None
    os.kill(component, signal.SIGKILL)
    finish(system, task, mark)
    assert gone(sidecar)
    assert system.system.pid(f"{app}-daprd") not in {component, None}


def test_a_killed_sidecar_comes_back_with_its_component_and_loses_nothing(
    system: Whole, mark: str, tmp_path: Path
) -> None:
    task = begin(system, mark, tmp_path)
    component = psutil.Process(system.system.pid("orchestrator-daprd"))
    sidecar_process(system, "orchestrator").kill()
    finish(system, task, mark)
    assert gone(component)


def test_a_question_asked_while_the_broker_is_away_is_answered_when_it_is_back(
    system: Whole, mark: str, tmp_path: Path
) -> None:
    system.system.halt("zeromq")
    task = system.start(f"What does {mark} hold?", tmp_path)
    system.system.resume("zeromq")
    finish(system, task, mark)
