"""The main job over each broker that is another server than the state store's."""

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.brokers import broker_setup
from tests.support.checkout import processes_of
from tests.support.waiting import wait_until
from tests.support.whole import Whole, whole

# The first start on a machine may have to install the server, or to build Dapr.
pytestmark = pytest.mark.timeout(1500)

# The folder of components/pubsub, and the process of the server.
BROKERS = {
    "mqtt": "mosquitto",
    "rabbitmq": "rabbitmq",
    "kafka": "kafka",
    "servicebus": "servicebus",
    "zeromq": "zeromq",
}
CALLS = 4  # of the model, for one question
# Each call of the model takes a while, so that a question is at a known place when something is killed.
SCRIPT = {
    "rules": [
        {
            "name": "look up",
            "when": {"system": "clerk", "tool_results": 0},
            "delay": 0.4,
            "tool_calls": [
                {"name": "knowledge_search", "arguments": {"query": "lamp"}},
                {"name": "ledger_deposit", "arguments": {"account": "ACCOUNT", "amount": 1}},
            ],
        },
        {"name": "find", "when": {"system": "clerk"}, "delay": 0.4, "text": "Found by ACCOUNT."},
        {"name": "write", "when": {"system": "write the answer"}, "delay": 0.4, "text": "Written for ACCOUNT."},
        {"name": "review", "when": {"system": "check the draft"}, "delay": 0.4, "text": "APPROVE"},
    ]
}


@pytest.fixture(scope="module", params=BROKERS)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Whole]]:
    env = {"DOVECOTE_RESEND_AFTER": "3"}
    home = tmp_path_factory.mktemp(request.param)
    with (
        broker_setup(request.param, home / "broker") as setup,
        whole(home, {**env, **setup.env}, request.param, brokers=setup.brokers) as system,
    ):
        yield BROKERS[request.param], system
    assert processes_of(home) == []


@pytest.fixture
def server(running: tuple[str, Whole]) -> str:
    """The name of the broker's process."""
    return running[0]


@pytest.fixture
def system(running: tuple[str, Whole]) -> Whole:
    """The system, ready, with a model that answers by the demonstration rules and has not been called."""
    system = running[1]
    system.system.wait_ready()
    system.model.set_script({})
    system.model.reset()
    return system


@pytest.mark.promise("ARG-01", "MQT-06")
def test_a_question_is_answered_from_the_documents(system: Whole, documents: Path) -> None:
    result = system.ask("How much oil does the northern lamp burn a night, and what is 14 * 30?", documents)
    assert result["status"] == "completed", result["error"]
    assert "14 litres" in result["answer"]["text"]
    assert "420" in result["answer"]["text"]
    assert [citation["file"] for citation in result["answer"]["citations"]] == ["lamps.md"]
    assert result["usage"]["model_calls"] == 4


def test_five_questions_at_once_each_get_their_own_answer(system: Whole, tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"ship{number}.md").write_text(
            f"# Ship\n\nThe vessel Alba{number} carries {number + 100} crates.\n"
        )
    questions = [f"How many crates does the vessel Alba{number} carry?" for number in range(5)]
    with ThreadPoolExecutor(5) as pool:
        results = list(pool.map(lambda question: system.ask(question, tmp_path), questions))
    for number, result in enumerate(results):
        assert result["status"] == "completed", result["error"]
        assert f"{number + 100} crates" in result["answer"]["text"]


def test_the_recorder_hears_of_every_step(system: Whole, documents: Path) -> None:
    result = system.ask("What does the southern lamp run on?", documents)
    told = system.told(result["task_id"])
    assert "researcher calls knowledge_search" in told
    assert "reviewer thought" in told


@pytest.mark.parametrize(
    ("process", "step"), [("researcher", "look up"), ("writer-daprd", "write"), ("orchestrator-daprd", "find")]
)
def test_what_is_killed_with_a_question_in_flight_loses_nothing(
    system: Whole, process: str, step: str, tmp_path: Path
) -> None:
    _answered_although_killed(system, process, step, tmp_path)


@pytest.mark.parametrize("step", ["look up", "write"])
def test_a_broker_killed_with_a_question_in_flight_loses_no_task(
    system: Whole, server: str, step: str, tmp_path: Path
) -> None:
    _answered_although_killed(system, server, step, tmp_path)


def _answered_although_killed(system: Whole, victim: str, step: str, docs: Path) -> None:
    account = uuid.uuid4().hex
    system.model.set_script(json.loads(json.dumps(SCRIPT).replace("ACCOUNT", account)))
    task = system.start(f"What does {account} hold?", docs)
    wait_until(lambda: step in system.model.totals()["rules"], f"the model call {step!r}", 40)
    system.system.kill(victim)
    # A busy machine takes half a minute to start a server again, and consumers that hang cost RabbitMQ a minute.
    result = system.result(task, 240)
    assert result["status"] == "completed", result["error"]
    assert result["answer"]["text"] == f"Written for {account}."
    # What was cut off is called once more; what is sent again is known, and calls nobody.
    used = system.model.totals()["rules"]
    assert CALLS <= sum(used.values()) <= CALLS + 1, used
    system.system.wait_ready()
    assert system.balance(account) == 1
