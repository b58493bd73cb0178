"""Accepted commands: their outcome comes, whatever is killed or fails meanwhile."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import JsonValue

from dovecote import DeliveryMode, Message, topics
from dovecote.errors import (
    BegunError,
    NotFoundError,
    UnavailableError,
)
from dovecote.messages import now
from dovecote.testing import Network
from tests.support.eventually import eventually
from tests.support.till import Till, asker, outcomes, pay

pytestmark = pytest.mark.promise("AOS-07")


async def test_two_commands_of_one_idempotency_key_at_once_are_one_effect_and_both_have_the_outcome() -> None:
    till = Till()
    till.goes.clear()
    async with asker(till.app) as (ann, _):
        pay: dict[str, JsonValue] = {"order": "a", "cents": 5}
        both = [await ann.bus.command("till", "pay", pay, idempotency_key="k") for _ in range(2)]
        till.goes.set()
        assert [await one.outcome() for one in both] == [5, 5]
    assert till.log == ["a"]


async def test_a_command_that_comes_again_when_it_has_ended_is_answered_with_the_kept_outcome() -> None:
    till = Till()
    async with asker(till.app) as (ann, net):
        command = pay(reply_to=topics.replies("ann"))
        await ann.bus.send("till", command)
        await eventually(lambda: outcomes(net), "the outcome")
        await ann.bus.send("till", command)
        await eventually(lambda: outcomes(net) == [5, 5], "the outcome once more")
    assert till.log == ["a"]


async def test_parameters_of_any_size_are_not_in_the_workflow_whose_room_is_small() -> None:
    till = Till()
    async with asker(till.app) as (ann, net):
        accepted = await ann.bus.command("till", "pay", {"order": "a" * 10_000_000, "cents": 5})
        assert await accepted.outcome() == 5
        assert len(net.workflows("till").history(accepted.id).model_dump_json()) < 10_000


async def test_a_command_whose_outcome_is_not_kept_any_more_is_told_so_and_not_carried_out_again() -> None:
    till = Till()
    async with asker(till.app) as (ann, net):
        command = pay(reply_to=topics.replies("ann"))
        await ann.bus.send("till", command)
        await eventually(lambda: outcomes(net), "the outcome")
        await net.advance(25 * 3600)
        with pytest.raises(NotFoundError, match="is not kept any more"):
            await (await ann.bus.command("till", "pay", {"order": "a", "cents": 5}, id=command.id)).outcome()
    assert till.log == ["a"]


async def test_a_command_is_accepted_only_when_its_workflow_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    till = Till()
    async with asker(till.app) as (ann, net):
        workflows, told = net.workflows("till"), list[int]()
        schedule = workflows.schedule

        async def fail_twice(name: str, data: JsonValue, *, instance_id: str) -> bool:
            told.append(len(net.bus.events(topics.replies("ann"))))
            if len(told) <= 2:
                raise UnavailableError("the engine is away")
            return await schedule(name, data, instance_id=instance_id)

        monkeypatch.setattr(workflows, "schedule", fail_twice)
        assert await (await ann.bus.command("till", "pay", {"order": "a", "cents": 5})).outcome() == 5
        states = [row["data"] for row in net.bus.events(topics.replies("ann")) if row["type"] == "status"]
    assert told == [0, 0, 0]
    assert states == [{"state": "accepted"}]
    assert till.log == ["a"]


async def _crash_when_it_is_accepted(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    workflows = net.workflows("till")
    schedule = workflows.schedule

    async def crash_after(name: str, data: JsonValue, *, instance_id: str) -> bool:
        new = await schedule(name, data, instance_id=instance_id)
        await workflows.close()
        return new

    monkeypatch.setattr(workflows, "schedule", crash_after)


async def test_a_command_whose_recipient_is_killed_before_the_work_has_its_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    till = Till()
    async with asker(till.app) as (ann, net):
        await _crash_when_it_is_accepted(net, monkeypatch)
        accepted = await ann.bus.command("till", "pay", {"order": "a", "cents": 5})
        assert till.log == []
        await net.stop("till")
        await net.start("till")
        assert await accepted.outcome() == 5
    assert till.log == ["a"]


async def test_a_command_whose_recipient_is_killed_at_the_work_has_its_effect_once_and_its_outcome() -> None:
    till = Till()
    till.goes.clear()
    async with asker(till.app) as (ann, net):
        accepted = await ann.bus.command("till", "pay", {"order": "a", "cents": 5})
        await eventually(lambda: till.log, "the work")
        await net.stop("till")
        till.goes.set()
        await net.start("till")
        assert await accepted.outcome() == 5
        assert net.state("till").values()["effect:a"]["value"] == 5


async def test_a_command_that_may_be_carried_out_once_at_most_is_not_when_its_recipient_was_killed_at_it() -> None:
    till = Till()
    till.goes.clear()
    async with asker(till.app) as (ann, net):
        accepted = await ann.bus.command(
            "till", "pay", {"order": "a", "cents": 5}, delivery=DeliveryMode.AT_MOST_ONCE
        )
        await eventually(lambda: till.log, "the work")
        await net.stop("till")
        till.goes.set()
        await net.start("till")
        with pytest.raises(BegunError, match="is not handled again: at_most_once"):
            await accepted.outcome()
    assert till.log == ["a"]


async def test_a_command_is_tried_as_often_as_it_allows_and_the_error_of_its_last_try_is_its_outcome() -> None:
    till = Till()
    async with asker(till.app) as (ann, _):
        accepted = await ann.bus.command("till", "pay", {"order": "flaky", "cents": 5}, max_attempts=2)
        with pytest.raises(UnavailableError, match="not yet"):
            await accepted.outcome()
    assert till.log == ["flaky"] * 2


async def test_a_command_whose_time_is_over_before_the_work_is_a_dead_letter_and_not_carried_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    till = Till()
    async with asker(till.app) as (ann, net):
        await _crash_when_it_is_accepted(net, monkeypatch)
        sent = await ann.bus.send("till", pay(deadline=now() + timedelta(seconds=0.3)))
        await net.bus.settled()
        await eventually(sent.expired, "the deadline")
        assert net.workflows("till").instances() == [sent.id]
        await net.stop("till")
        await net.start("till")
        await eventually(lambda: net.bus.events(topics.DEAD_LETTERS), "the dead letter")
        [told] = net.bus.events(topics.FAILURES)
    assert "expired before it was carried out" in told["data"]["reason"]
    assert till.log == []


@pytest.mark.parametrize("mode", [DeliveryMode.AT_LEAST_ONCE, DeliveryMode.EXACTLY_ONCE])
async def test_a_command_that_fails_and_for_which_nobody_waits_is_a_dead_letter_that_can_be_handed_in_again(
    mode: DeliveryMode,
) -> None:
    till = Till()
    async with asker(till.app, model_wait=0) as (ann, net):
        await ann.bus.send("till", pay("flaky", delivery=mode))
        await eventually(lambda: net.bus.events(topics.DEAD_LETTERS), "the dead letter")
        [told] = net.bus.events(topics.FAILURES)
        assert (told["data"]["error"], told["data"]["reason"]) == ("UnavailableError", "not yet")
        [letter] = net.bus.events(topics.DEAD_LETTERS)
        message = Message.from_cloudevent(letter).model_dump(mode="json")
        handed_in: list[Any] = [
            await net.invoke(
                "till", "resubmissions", {"topic": topics.inbox("till"), "message": message, "number": number}
            )
            for number in (1, 2)
        ]
        assert handed_in[0]["reason"] == "not yet"
        assert handed_in[1] is None
        assert net.state("till").values()["effect:flaky"]["value"] == 5
    assert till.log == ["flaky"] * 3


async def test_a_command_that_fails_and_may_be_carried_out_once_at_most_is_lost_and_said_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    till = Till()
    async with asker(till.app) as (ann, net):
        sent = await ann.bus.send("till", pay("flaky", delivery=DeliveryMode.AT_MOST_ONCE))
        await eventually(lambda: f"command '{sent.id}': lost" in caplog.text, "the line in the log")
        assert not net.bus.events(topics.DEAD_LETTERS)
    assert till.log == ["flaky"]
