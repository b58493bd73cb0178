"""Rules that choose which app a message is sent to."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dovecote import App, Message, MessageType, Priority, topics
from dovecote.directory import Registration
from dovecote.errors import AgentUnavailableError, ConfigurationError, NotFoundError
from dovecote.routing import MessageRouter
from dovecote.settings import Settings
from dovecote.testing import Network
from services.directory.main import app as directory

pytestmark = pytest.mark.promise("AOS-22")
ANALYSTS = ["analyst-1", "analyst-2", "analyst-3"]


def _router() -> tuple[App, MessageRouter]:
    app = App("desk")
    return app, MessageRouter(app)


def _message(content: Any = None, **fields: Any) -> Message:
    return Message(type=MessageType.TASK, sender="desk", content=content or {"task_type": "analysis"}, **fields)


@asynccontextmanager
async def _running(app: App, *loads: tuple[str, int]) -> AsyncIterator[Network]:
    """The app and the directory, in which apps have announced themselves with their load."""
    async with Network([directory, app], settings=Settings()) as net:
        for number, (name, load) in enumerate(loads):
            row = Registration(
                app_id=name, replica=str(number), kind="agent", capabilities=[name], lease=60, load=load
            )
            await app.running.directory.register(row)
        yield net


async def test_a_message_goes_where_the_first_rule_that_holds_sends_it() -> None:
    app, router = _router()
    router.add_rule("urgent", lambda message: message.priority is Priority.HIGH, "chief")
    router.add_rule("analysis", 'event.data.task_type == "analysis"', "analyst-1")
    async with _running(app) as net:
        assert await router.route(_message(priority=Priority.HIGH)) == "chief"
        sent = await router.forward(_message())
        (event,) = net.bus.events(topics.inbox("analyst-1"))
    assert (sent.recipient, event["subject"], event["id"]) == ("analyst-1", "analyst-1", sent.id)


async def test_round_robin_gives_each_target_its_turn() -> None:
    app, router = _router()
    router.add_load_balancing_rule("analysis", "has(event.data.task_type)", ANALYSTS)
    async with _running(app):
        assert [await router.route(_message()) for _ in range(6)] == ANALYSTS * 2


async def test_the_least_loaded_target_gets_the_next_one_and_what_was_sent_counts() -> None:
    app, router = _router()
    router.add_load_balancing_rule("analysis", "has(event.data.task_type)", ANALYSTS, "least_loaded")
    async with _running(app, ("analyst-1", 3), ("analyst-2", 0), ("analyst-2", 2), ("analyst-3", 2)):
        chosen = Counter([await router.route(_message()) for _ in range(6)])
    # The second has two replicas, so that four more make each of the three as busy as the others.
    assert chosen == {"analyst-2": 4, "analyst-3": 1, "analyst-1": 1}


async def test_a_target_that_does_not_run_is_not_the_least_loaded_one() -> None:
    app, router = _router()
    router.add_load_balancing_rule("analysis", "has(event.data.task_type)", ANALYSTS, "least_loaded")
    async with _running(app, ("analyst-3", 9)):
        assert await router.route(_message()) == "analyst-3"
    async with _running(app):
        with pytest.raises(AgentUnavailableError, match="none of analyst-1, analyst-2, analyst-3 runs"):
            await router.route(_message())


async def test_a_message_that_no_rule_holds_for_is_refused_with_the_rules_that_there_are() -> None:
    app, router = _router()
    router.add_rule("analysis", 'event.data.task_type == "analysis"', "analyst-1")
    async with _running(app):
        with pytest.raises(NotFoundError, match="no rule holds") as caught:
            await router.route(_message({"task_type": "other"}))
    assert caught.value.mend == "add one; there are: analysis"


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        (("a", "event.type ==", ["chief"]), "is not CEL"),
        (("a", "event.priority < 1.0", ["The Chief"]), "rule 'a': target 'The Chief' is not an app-id"),
        (("a", "event.priority < 1.0", []), "rule 'a' has no target"),
        (("a", "event.priority < 1.0", ["chief"], "random"), "strategy 'random' is unknown"),
        (("there", "event.priority < 1.0", ["chief"]), "a rule 'there' already"),
    ],
)
def test_a_wrong_rule_stops_the_start(rule: Any, fault: str) -> None:
    _, router = _router()
    router.add_rule("there", "event.priority < 1.0", "chief")
    with pytest.raises(ConfigurationError, match=fault):
        router.add_load_balancing_rule(*rule)


async def test_the_lease_tells_how_much_work_is_under_way() -> None:
    app = App("worker")
    async with Network([directory, app], settings=Settings(heartbeat=0.1)):
        with app.running.working(), app.running.working():
            assert app.running.registration.load == 2
        assert app.running.registration.load == 0
