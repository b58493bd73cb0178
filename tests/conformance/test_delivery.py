"""How messages reach their receivers."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from dovecote import Message, MessageType, Priority
from dovecote.messages import now
from tests.conformance.apps.receiver import HEAP
from tests.conformance.fleet import Fleet, names


def event(content: Any = "news", **fields: Any) -> Message:
    """An event with what a test needs."""
    return Message(type=MessageType.EVENT, sender="tests", content=content, **fields)


async def test_each_app_gets_each_message_at_one_of_its_replicas(fleet: Fleet) -> None:
    """Each app gets each message, at one of its replicas, and all replicas take part."""
    messages = [event(number) for number in range(60)]
    await fleet.publish(*messages)
    for app in ("alpha", "beta"):
        await fleet.handled(*messages, app=app)
        assert [len(fleet.log.attempts(message, app)) for message in messages] == [1] * 60
    took_part = {fleet.name_of(entry.replica) for message in messages for entry in fleet.log.attempts(message)}
    assert took_part == set(names("alpha"))


async def test_every_field_of_a_message_arrives_as_it_was(fleet: Fleet) -> None:
    """Every field of a message arrives as it was, Unicode included."""
    message = event(
        {"text": "naïve — 东京 \U0001f600 \x00", "numbers": [1, 2.5, -3e10], "nothing": None, "deep": {"a": [{}]}},
        recipient="alpha",
        priority=Priority.HIGH,
        timestamp=datetime(2026, 5, 4, 3, 2, 1, 123456, tzinfo=UTC),
        deadline=now() + timedelta(hours=1),
        correlation_id="c-1",
        causation_id="c-2",
        conversation_id="c-3",
        reply_to="agents/alpha/inbox",
        idempotency_key=f"key of {now()}",
        metadata={"docs": "/a folder/ünï"},
    )
    await fleet.publish(message)
    await fleet.handled(message)
    assert [entry.message for entry in fleet.log.handled(message)] == [message]


async def test_a_batch_arrives_whole(fleet: Fleet) -> None:
    """A batch arrives whole, at a subscription that takes batches as well."""
    messages = [event(number) for number in range(100)]
    await fleet.publish(*messages, topic=HEAP, batch=True)
    await fleet.handled(*messages)
    await fleet.handled(*messages, app="beta")
    assert await fleet.effects(*messages) == [1] * 100


async def test_the_same_message_twice_has_one_effect(fleet: Fleet) -> None:
    """A message that the broker delivers twice has its effect once."""
    message = event()
    await asyncio.gather(fleet.publish(message), fleet.publish(message))
    await fleet.handled(message)
    assert await fleet.effects(message) == [1]
