"""Commands that come again: resubmitted, under the same id, and while something is away."""

from typing import Any

import pytest
from pydantic import JsonValue

from dovecote import App, Commands, DeliveryMode, Message, topics
from dovecote.acceptance import LARGEST, accept
from dovecote.commands import WORKFLOW
from dovecote.errors import ConfigurationError, UnavailableError
from dovecote.settings import Settings
from dovecote.testing import Network
from tests.support.eventually import eventually, passed
from tests.support.till import Till, asker, outcomes, pay

pytestmark = pytest.mark.promise("AOS-07")


async def _hand_in(net: Network, message: Message, number: int = 1) -> Any:
    row: JsonValue = {
        "topic": topics.inbox("till"),
        "message": message.model_dump(mode="json"),
        "number": number,
    }
    return await net.invoke("till", "resubmissions", row)


async def test_a_command_that_a_bug_has_ended_is_carried_out_when_it_is_handed_in_after_the_mend() -> None:
    till, command = Till(), pay("lost")
    async with asker(till.app) as (ann, net):
        await ann.bus.send("till", command)
        await eventually(lambda: net.bus.events(topics.DEAD_LETTERS), "the dead letter")
        assert (await _hand_in(net, command))["reason"] == "there is no such order"
        till.lost.clear()
        assert await _hand_in(net, command, 2) is None
        assert await _hand_in(net, command, 3) is None
    assert till.log == ["lost"] * 3


async def test_whoever_hands_in_a_command_that_was_never_accepted_hears_what_becomes_of_it() -> None:
    till = Till()
    async with asker(till.app) as (_, net):
        assert await _hand_in(net, pay()) is None
        assert till.log == ["a"]
        refused = pay(reply_to=topics.replies("ann")).model_copy(update={"content": {"command": "fly"}})
        assert (await _hand_in(net, refused))["error"] == "CommandRejectedError"


async def test_a_command_whose_sender_cannot_be_told_that_it_is_accepted_is_no_dead_letter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    till = Till()
    async with asker(till.app) as (ann, net):
        put, refused = net.bus.put, list[str]()

        def fail_at_accepted(events: Any) -> None:
            if any(b'"accepted"' in event for _, _, event in events):
                refused.append("accepted")
                raise UnavailableError("the broker is away for a moment")
            put(events)

        monkeypatch.setattr(net.bus, "put", fail_at_accepted)
        command = pay(reply_to=topics.replies("ann"), max_attempts=1)
        await ann.bus.send("till", command)
        await eventually(lambda: outcomes(net) == [5], "the outcome")
        assert refused == ["accepted"]
        assert not net.bus.events(topics.DEAD_LETTERS)
    assert till.log == ["a"]


async def test_a_failed_command_whose_sender_cannot_be_told_for_hours_is_a_dead_letter_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    till = Till()
    async with asker(till.app) as (ann, net):
        put, away = net.bus.put, True

        def fail_while_away(events: Any) -> None:
            if away and not any(topic == topics.inbox("till") for topic, _, _ in events):
                raise UnavailableError("the broker is away")
            put(events)

        monkeypatch.setattr(net.bus, "put", fail_while_away)
        command = pay(order="lost", reply_to=topics.replies("ann"))
        await ann.bus.send("till", command)
        await eventually(lambda: till.log, "the work")
        await passed(net, 3 * 3600, step=60)
        away = False

        async def buried() -> bool:
            await net.advance(60)
            return bool(net.bus.events(topics.DEAD_LETTERS))

        await eventually(buried, "the dead letter")
        [letter] = net.bus.events(topics.DEAD_LETTERS)
    assert letter["id"] == command.id
    assert till.log == ["lost"]


async def test_of_two_large_commands_of_one_id_the_first_counts() -> None:
    till = Till()
    till.goes.clear()
    orders = [letter * 100_000 for letter in "ab"]
    async with asker(till.app) as (ann, net):
        first, second = (pay(order=order, id="same") for order in orders)
        await ann.bus.send("till", first)
        await eventually(lambda: till.log, "the work")
        await ann.bus.send("till", second)
        await net.bus.settled()
        await net.stop("till")
        till.goes.set()
        await net.start("till")
        await eventually(lambda: f"effect:{orders[0]}" in net.state("till").values(), "the effect")
    assert set(till.log) == {orders[0]}


async def test_a_command_that_is_carried_out_once_at_most_waits_for_a_state_store_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    till = Till()
    async with asker(till.app) as (ann, net):
        state, failed = net.state("till"), list[str]()
        write = state.write

        async def fail_twice(*writes: Any) -> None:
            if len(failed) < 2 and writes[0].key.startswith("begun:"):
                failed.append(writes[0].key)
                raise UnavailableError("the store is away")
            await write(*writes)

        monkeypatch.setattr(state, "write", fail_twice)
        mode = DeliveryMode.AT_MOST_ONCE
        accepted = await ann.bus.command("till", "pay", {"order": "a", "cents": 5}, delivery=mode)
        assert await accepted.outcome() == 5
    assert (len(failed), till.log) == (2, ["a"])


async def test_how_long_a_command_is_tried_is_decided_when_it_is_accepted() -> None:
    till = Till()
    till.goes.clear()
    async with asker(till.app, model_wait=60) as (ann, net):
        accepted = await ann.bus.command("till", "pay", {"order": "flaky", "cents": 5})
        await eventually(lambda: till.log, "the work")
        await net.stop("till")
        net.settings = Settings(model_wait=0)
        till.goes.set()
        await net.start("till")
        assert await accepted.outcome() == 5
    assert till.log == ["flaky"] * 3


async def test_a_large_task_that_a_version_before_has_accepted_goes_on() -> None:
    till = Till()
    till.goes.clear()
    async with asker(till.app) as (_, net):
        task = pay(order="a" * LARGEST)
        data = task.model_dump(mode="json")
        assert await net.workflows("till").schedule(WORKFLOW, data, instance_id=task.id)
        assert await accept(till.app.running, WORKFLOW, task) is None
        assert not net.bus.events(topics.DEAD_LETTERS)


def test_an_app_offers_all_its_commands_with_one_object() -> None:
    app = App("till")
    Commands(app)
    with pytest.raises(ConfigurationError, match="'till' has commands already"):
        Commands(app)
