"""Each process is killed in turn while a question is in flight: the answer still comes, and nothing twice."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import wait_until
from tests.support.whole import Whole, whole

pytestmark = pytest.mark.timeout(180)

APPS = [
    "gateway", "orchestrator", "researcher", "writer", "reviewer",
    "knowledge", "calculator", "directory", "recorder", "ledger",
]  # fmt: skip
MODEL_CALLS = 4

# Each agent's model takes a while, so that there is always something in flight.
SCRIPT = {
    "rules": [
        {
            "name": "call tools",
            "when": {"system": "clerk", "tool_results": 0},
            "delay": 0.4,
            "tool_calls": [
                {"name": "knowledge_search", "arguments": {"query": "lamp"}},
                {"name": "calculator_evaluate", "arguments": {"expression": "6 * 7"}},
                {"name": "ledger_deposit", "arguments": {"account": "ACCOUNT", "amount": 1}},
            ],
        },
        {"name": "find", "when": {"system": "clerk"}, "delay": 0.4, "text": "Found by ACCOUNT."},
        {"name": "write", "when": {"system": "write the answer"}, "delay": 0.4, "text": "Written for ACCOUNT."},
        {"name": "review", "when": {"system": "check the draft"}, "delay": 0.4, "text": "APPROVE"},
    ]
}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with whole(tmp_path_factory.mktemp("chaos"), {"LEDGER_SECONDS": "0.4"}) as running:
        yield running


@pytest.fixture
def account(system: Whole) -> str:
    """An account of the test's own, in whose name the model answers."""
    system.system.wait_ready()
    name = uuid.uuid4().hex
    system.model.set_script(json.loads(json.dumps(SCRIPT).replace("ACCOUNT", name)))
    system.model.reset()
    return name


def _kill_when(system: Whole, victim: str, rule: str, account: str, docs: Path) -> None:
    task = system.start(f"What does {account} hold?", docs)
    wait_until(lambda: rule in system.model.totals()["rules"], f"the model call {rule!r}", 20)
    system.system.kill(victim)
    result = system.result(task, 120)
    assert result["status"] == "completed", result["error"]
    assert result["answer"]["text"] == f"Written for {account}."
    assert MODEL_CALLS <= system.model.totals()["calls"] <= MODEL_CALLS + 1
    system.system.wait_ready()
    assert system.balance(account) == 1


@pytest.mark.parametrize("app", APPS)
def test_a_killed_app_loses_nothing(system: Whole, app: str, account: str, tmp_path: Path) -> None:
    _kill_when(system, app, "call tools", account, tmp_path)


@pytest.mark.parametrize("app", APPS)
def test_a_killed_sidecar_loses_nothing(system: Whole, app: str, account: str, tmp_path: Path) -> None:
    _kill_when(system, f"{app}-daprd", "call tools", account, tmp_path)


@pytest.mark.parametrize("victim", ["writer", "writer-daprd"])
def test_an_agent_killed_during_its_model_call_calls_once_more(
    system: Whole, victim: str, account: str, tmp_path: Path
) -> None:
    _kill_when(system, victim, "write", account, tmp_path)


@pytest.mark.parametrize("victim", ["ledger", "ledger-daprd", "researcher", "researcher-daprd"])
def test_an_effect_under_way_takes_place_once(system: Whole, victim: str, account: str, tmp_path: Path) -> None:
    task = system.start(f"What does {account} hold?", tmp_path)
    marker = "calls ledger_deposit"
    wait_until(lambda: marker in system.told(task), "the deposit to start", 20)
    system.system.kill(victim)
    assert system.result(task, 120)["status"] == "completed"
    system.system.wait_ready()
    assert system.balance(account) == 1


@pytest.mark.parametrize("server", ["placement", "scheduler", "redis"])
def test_a_killed_server_loses_nothing(system: Whole, server: str, account: str, tmp_path: Path) -> None:
    _kill_when(system, server, "call tools", account, tmp_path)


def test_a_stopped_agent_finishes_the_model_call_that_it_began(system: Whole, account: str, tmp_path: Path) -> None:
    task = system.start(f"What does {account} hold?", tmp_path)
    wait_until(lambda: "write" in system.model.totals()["rules"], "the writer's model call", 20)
    system.system.halt("writer")
    system.system.resume("writer")
    result = system.result(task, 120)
    assert result["status"] == "completed", result["error"]
    assert system.model.totals()["rules"]["write"] == 1
