"""The main job over each broker that is another server than the state store's."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.brokers import broker_setup
from tests.support.checkout import processes_of
from tests.support.in_flight import answered_although
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
# A busy machine takes half a minute to start a server again, and consumers that hang cost RabbitMQ a minute.
SECONDS = 240


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
    # The answer may be here before the recorder has been handed what was published before it.
    for step in ("researcher calls knowledge_search", "reviewer thought"):
        wait_until(lambda: step in system.told(result["task_id"]), step)  # noqa: B023 - it is asked at once


@pytest.mark.parametrize(
    ("process", "step"), [("researcher", "look up"), ("writer-daprd", "write"), ("orchestrator-daprd", "find")]
)
def test_what_is_killed_with_a_question_in_flight_loses_nothing(
    system: Whole, process: str, step: str, tmp_path: Path
) -> None:
    answered_although(system, process, step, tmp_path, SECONDS)


@pytest.mark.parametrize("step", ["look up", "write"])
def test_a_broker_killed_with_a_question_in_flight_loses_no_task(
    system: Whole, server: str, step: str, tmp_path: Path
) -> None:
    answered_although(system, server, step, tmp_path, SECONDS)
