"""A replica of an agent goes for good while it works on tasks: the other one goes on with them."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from deploy.local.system import System
from tests.support.in_flight import slow_model
from tests.support.model_server import ModelServer
from tests.support.waiting import wait_until
from tests.support.whole import CHECKOUT, Whole, replica, whole_apps

pytestmark = pytest.mark.timeout(600)
TASKS = 6
LIMIT = 60  # seconds for all of them, on a machine that is busy; in quiet a replica that stops delays none


@pytest.fixture
def two_researchers(tmp_path: Path) -> Iterator[Whole]:
    apps = whole_apps()
    [researcher] = [app for app in apps if app.app_id == "researcher"]
    with (
        ModelServer() as model,
        System(
            CHECKOUT,
            tmp_path,
            apps=[*apps, replica(researcher)],
            with_model=False,
            restart=False,
            env={"DEMO_MODEL_URL": model.url, "DOVECOTE_STOP_DELAY": "1"},
        ) as system,
        closing(Whole(system, model)) as running,
    ):
        yield running


def test_tasks_of_a_replica_that_is_stopped_for_good_are_done_once_by_the_other(
    two_researchers: Whole, documents: Path
) -> None:
    system = two_researchers.system
    mark = slow_model(two_researchers)
    tasks = [two_researchers.start(f"What does {mark} hold?", documents) for _ in range(TASKS)]
    wait_until(lambda: "look up" in two_researchers.model.totals()["rules"], "a researcher that has begun", 30)
    for name in ("researcher", "researcher-daprd"):
        pid = system.pid(name)
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
    for task in tasks:
        result = two_researchers.result(task, LIMIT)
        assert result["status"] == "completed", result["error"]
    wait_until(lambda: system.pid("researcher") is None, "the end of the replica", 30)
    assert two_researchers.balance(mark) == TASKS
