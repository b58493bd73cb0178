"""What becomes of a message whose handler fails, or that nobody should handle any more."""

from datetime import timedelta
from itertools import pairwise
from typing import Any, Final

import pytest
import yaml

from dovecote import Message, Priority
from dovecote.messages import new_id, now
from tests.conformance.apps.receiver import TROUBLE
from tests.conformance.behaviours import CHECKOUT
from tests.conformance.fleet import Fleet
from tests.conformance.test_delivery import event

_POLICIES: Final = yaml.safe_load((CHECKOUT / "components/shared/resiliency.yaml").read_text())["spec"]["policies"]
TRIES: Final = _POLICIES["retries"]["inbound"]["maxRetries"] + 1


async def test_what_fails_for_a_while_is_tried_again(fleet: Fleet) -> None:
    """A message whose handler fails for a while is tried again until it is handled, and has one effect."""
    message = event()
    fleet.log.fail(message, "UnavailableError", "not yet", times=2)
    await fleet.publish(message, topic=TROUBLE)
    await fleet.handled(message)
    assert len(fleet.log.attempts(message)) == 3
    assert await fleet.effects(message) == [1]


async def test_a_rejected_message_is_a_dead_letter_at_once(fleet: Fleet) -> None:
    """A message that its handler rejects is a dead letter at once, with the reason."""
    message = event({"a": 1})
    fleet.log.fail(message, "Reject", "not for me")
    await fleet.publish(message, topic=TROUBLE)
    letter = await fleet.dead_letter(message)
    [reason] = letter["reasons"]
    assert letter["message"]["content"] == {"a": 1}
    assert (reason["reason"], reason["attempt"], reason["topic"]) == ("not for me", 1, TROUBLE)
    assert (reason["consumer"], reason["error"], reason["verdict"]) == ("alpha", "Reject", "DROP")
    assert "Reject: not for me" in reason["traceback"]
    assert len(fleet.log.attempts(message)) == 1
    await fleet.handled(message, app="beta")


@pytest.mark.promise("AOS-10")
async def test_a_message_says_how_often_it_is_tried(fleet: Fleet) -> None:
    """A message that says how often it may be tried is a dead letter after that, sooner than the policy has it."""
    message = event(max_attempts=2)
    fleet.log.fail(message, "UnavailableError", "never")
    await fleet.publish(message, topic=TROUBLE)
    letter = await fleet.dead_letter(message, reasons=2)
    assert sorted((row["attempt"], row["verdict"]) for row in letter["reasons"]) == [(1, "RETRY"), (2, "DROP")]
    assert len(fleet.log.attempts(message)) == 2


@pytest.mark.promise("AOS-11")
async def test_a_dead_letter_that_is_resubmitted_is_handled_once(fleet: Fleet) -> None:
    """A dead letter that is resubmitted goes to who gave it up alone: it is handled once, or has both reasons."""
    message = event()
    fleet.log.fail(message, "Reject", "not for me", times=2)
    await fleet.publish(message, topic=TROUBLE)
    await fleet.dead_letter(message)
    await fleet.handled(message, app="beta")
    rows = [await fleet.resubmit(message, app="alpha") for _ in range(2)]
    assert [(row["state"], row["resubmissions"]) for row in rows] == [("open", 1), ("handled", 2)]
    assert [row["reason"] for row in await fleet.reasons(message, count=2)] == ["not for me"] * 2
    assert [entry.message.id for entry in fleet.log.handled(message)] == [message.id]
    assert (await fleet.effects(message), len(fleet.log.attempts(message, app="beta"))) == ([1], 1)


async def test_an_urgent_message_fails_as_any_other(fleet: Fleet) -> None:
    """An urgent message that fails is tried again, and a dead letter with its reason when it is rejected."""
    failing, rejected = (event(priority=Priority.CRITICAL) for _ in range(2))
    fleet.log.fail(failing, "UnavailableError", "not yet", times=1)
    fleet.log.fail(rejected, "Reject", "not for me")
    await fleet.publish(failing, rejected, event(), topic=TROUBLE, batch=True)
    await fleet.handled(failing)
    assert len(fleet.log.attempts(failing)) == 2
    letter = await fleet.dead_letter(rejected)
    assert letter["message"]["priority"] == Priority.CRITICAL
    assert [(row["reason"], row["topic"]) for row in letter["reasons"]] == [("not for me", TROUBLE)]


@pytest.mark.parametrize("rubbish", [{"priority": "soon"}, {"deadline": "tomorrow"}], ids=str)
async def test_what_is_no_message_is_a_dead_letter_at_once(fleet: Fleet, rubbish: dict[str, Any]) -> None:
    """An event that is no message is a dead letter at once, kept as it came."""
    sent = event()
    await fleet.publish_event(sent.to_cloudevent() | rubbish, topic=TROUBLE)
    reasons = await fleet.reasons(sent, count=2)
    assert {(row["consumer"], row["attempt"], row["verdict"]) for row in reasons} == {
        ("alpha", 1, "DROP"),
        ("beta", 1, "DROP"),
    }
    assert all(row["event"].items() >= rubbish.items() for row in reasons)
    assert not fleet.log.entries[sent.id]


@pytest.mark.parametrize("over", ["ttl", "deadline"])
async def test_an_expired_message_is_not_handled(fleet: Fleet, over: str) -> None:
    """A message whose time to live or deadline has passed is not handled, but is a dead letter that says so."""
    past = now() - timedelta(seconds=10)
    message = event(timestamp=past, ttl=5) if over == "ttl" else event(deadline=past)
    await fleet.publish(message)
    letter = await fleet.dead_letter(message, reasons=2)
    assert {row["consumer"] for row in letter["reasons"]} == {"alpha", "beta"}
    assert all("expired" in row["reason"] for row in letter["reasons"])
    assert not fleet.log.entries[message.id]


async def test_a_message_with_time_left_is_handled(fleet: Fleet) -> None:
    """A message with time left is handled."""
    message = event(ttl=60, deadline=now() + timedelta(seconds=60))
    await fleet.publish(message)
    await fleet.handled(message)


async def test_one_idempotency_key_is_one_effect(fleet: Fleet) -> None:
    """Two messages of one idempotency key have one effect."""
    key = new_id()
    messages = [event(idempotency_key=key), event(idempotency_key=key)]
    await fleet.publish(*messages)
    await fleet.handled(*messages)
    assert await fleet.effects(*messages) == [1, 1]


async def test_what_keeps_failing_is_a_dead_letter_with_every_reason(fleet: Fleet, hopeless: Message) -> None:
    """A message that keeps failing is tried as often as the policy says, then a dead letter with every reason."""
    letter = await fleet.dead_letter(hopeless, reasons=TRIES)
    assert letter["message"]["content"] == "hopeless"
    assert len(fleet.log.attempts(hopeless)) == TRIES
    assert sorted(row["attempt"] for row in letter["reasons"]) == list(range(1, TRIES + 1))
    told = {(row["topic"], row["consumer"], row["error"], row["reason"]) for row in letter["reasons"]}
    assert told == {(TROUBLE, "alpha", "UnavailableError", "never")}
    assert await fleet.effects(hopeless) == [0]


async def test_pauses_between_tries_grow(fleet: Fleet, hopeless: Message, exception: str | None) -> None:
    """The pauses between the tries grow."""
    await fleet.dead_letter(hopeless)
    times = [entry.at for entry in fleet.log.attempts(hopeless)]
    pauses = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    if exception:
        assert max(pauses) < 1
    else:
        assert pauses[-1] > 2 * pauses[0]
