"""Each process is killed in turn while a question is in flight: the answer still comes, and nothing twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.in_flight import answered_although, begun, slow_model
from tests.support.waiting import wait_until
from tests.support.whole import Whole, whole

pytestmark = pytest.mark.timeout(180)

APPS = [
    "gateway", "orchestrator", "researcher", "writer", "reviewer",
    "knowledge", "calculator", "directory", "recorder", "ledger",
]  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with whole(tmp_path_factory.mktemp("chaos"), {"LEDGER_SECONDS": "0.4"}) as system:
        yield system


@pytest.fixture
def system(running: Whole) -> Whole:
    """The system, with everything running."""
    running.system.wait_ready()
    return running


@pytest.mark.parametrize("app", APPS)
def test_a_killed_app_loses_nothing(system: Whole, app: str, tmp_path: Path) -> None:
    answered_although(system, app, "look up", tmp_path)


@pytest.mark.parametrize("app", APPS)
def test_a_killed_sidecar_loses_nothing(system: Whole, app: str, tmp_path: Path) -> None:
    answered_although(system, f"{app}-daprd", "look up", tmp_path)


@pytest.mark.parametrize("victim", ["writer", "writer-daprd"])
def test_an_agent_killed_during_its_model_call_calls_once_more(system: Whole, victim: str, tmp_path: Path) -> None:
    answered_although(system, victim, "write", tmp_path)


@pytest.mark.parametrize("victim", ["ledger", "ledger-daprd", "researcher", "researcher-daprd"])
def test_an_effect_under_way_takes_place_once(system: Whole, victim: str, tmp_path: Path) -> None:
    account = slow_model(system)
    task = system.start(f"What does {account} hold?", tmp_path)
    marker = "calls ledger_deposit"
    wait_until(lambda: marker in system.told(task), "the deposit to start", 20)
    system.system.kill(victim)
    assert system.result(task, 120)["status"] == "completed"
    system.system.wait_ready()
    assert system.balance(account) == 1


@pytest.mark.parametrize("server", ["placement", "scheduler", "redis"])
def test_a_killed_server_loses_nothing(system: Whole, server: str, tmp_path: Path) -> None:
    answered_although(system, server, "look up", tmp_path)


def test_a_stopped_agent_finishes_the_model_call_that_it_began(system: Whole, tmp_path: Path) -> None:
    task = begun(system, slow_model(system), "write", tmp_path)
    system.system.halt("writer")
    system.system.resume("writer")
    result = system.result(task, 120)
    assert result["status"] == "completed", result["error"]
    assert system.model.totals()["rules"]["write"] == 1
