"""The recorder: the journal of each task, and the dead letters with their reasons."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from dovecote import App, DeliveryMode, Message, MessageType, Reject, TaskEvent, topics
from dovecote.errors import NotFoundError, UnavailableError
from dovecote.testing import Network
from dovecote.values import Value
from services.recorder.main import app as recorder

pytestmark = pytest.mark.asyncio(loop_scope="session")
picky = App("picky")


@picky.subscribe("test/letters")
async def take(message: Message) -> None:
    """Take nothing."""
    if message.content == "away":
        raise UnavailableError("not yet")
    raise Reject("not for me")


@pytest_asyncio.fixture(loop_scope="session")
async def net() -> AsyncIterator[Network]:
    async with Network([recorder, picky]) as network:
        yield network


def _event(number: int, task_id: str = "t1") -> TaskEvent:
    return TaskEvent(id=f"{task_id}.{number}", task_id=task_id, kind="step", agent="a", text=f"step {number}")


async def _tell(net: Network, *events: TaskEvent) -> None:
    await net.bus.publish_batch(topics.TASK_EVENTS, [event.to_message() for event in events])
    await net.bus.settled()


async def _told(net: Network, query: str = "", task_id: str = "t1") -> list[str]:
    rows: Any = await net.invoke("recorder", f"tasks/{task_id}/events{query}", verb="GET")
    return [row["text"] for row in rows]


async def test_every_event_of_a_task_is_kept_once_in_the_order_of_its_coming(net: Network) -> None:
    for number in range(3):
        await _tell(net, _event(number))
    await _tell(net, _event(1))
    assert await _told(net) == ["step 0", "step 1", "step 2"]
    assert await _told(net, "?after=2") == ["step 2"]
    assert await _told(net, "?after=9") == []


async def test_many_events_at_once_lose_none_and_do_not_mix_tasks(net: Network) -> None:
    events = [_event(number, task_id) for number in range(25) for task_id in ("t1", "t2")]
    await _tell(net, *events)
    for task_id in ("t1", "t2"):
        assert sorted(await _told(net, task_id=task_id)) == sorted(f"step {number}" for number in range(25))


async def test_a_reader_that_waits_gets_the_next_event(net: Network) -> None:
    reading = asyncio.create_task(_told(net, "?wait=20"))
    await asyncio.sleep(0)
    assert not reading.done()
    await _tell(net, _event(0))
    assert await asyncio.wait_for(reading, 10) == ["step 0"]


async def test_a_reader_of_an_unknown_task_gets_nothing(net: Network) -> None:
    assert await _told(net, task_id="nobody") == []


async def test_a_dead_letter_is_kept_with_its_reason(net: Network) -> None:
    message = Message(type=MessageType.EVENT, sender="tests", content={"a": 1})
    await net.bus.publish("test/letters", message)
    await net.bus.settled()
    letter: Any = await net.invoke("recorder", f"deadletters/{message.id}", verb="GET")
    assert Message.model_validate(letter["message"]) == message
    (reason,) = letter["reasons"]
    assert (reason["consumer"], reason["reason"], reason["verdict"]) == ("picky", "not for me", "DROP")


async def test_each_try_of_a_dead_letter_has_its_reason(net: Network) -> None:
    message = Message(type=MessageType.EVENT, sender="tests", content="away")
    await net.bus.publish("test/letters", message)
    await net.bus.settled()
    letter: Any = await net.invoke("recorder", f"deadletters/{message.id}", verb="GET")
    assert sorted(row["attempt"] for row in letter["reasons"]) == list(range(1, 10))
    assert letter["message"]["id"] == message.id


async def test_an_event_that_is_no_message_is_kept_with_its_reason(net: Network) -> None:
    event = {"specversion": "1.0", "id": "odd", "source": "shop", "type": "x", "time": "noon"}
    await net.bus.publish_event("test/letters", event)
    await net.bus.settled()
    letter: Any = await net.invoke("recorder", "deadletters/odd", verb="GET")
    assert letter["message"] is None
    assert letter["reasons"][0]["event"] == event


async def test_a_letter_that_is_not_there_is_not_found(net: Network) -> None:
    with pytest.raises(NotFoundError, match="there is no dead letter 'nobody'"):
        await net.invoke("recorder", "deadletters/nobody", verb="GET")


STATUS = "agent/status/info"
EARLY = datetime(2026, 5, 4, tzinfo=UTC)


def _status(content: Any, seconds: float = 0, **fields: Any) -> Message:
    at = EARLY + timedelta(seconds=seconds)
    return Message(type=MessageType.STATUS, sender="clerk", content=content, timestamp=at, **fields)


async def _say(net: Network, topic: str, *messages: Message) -> Value | None:
    """Publish, and return what somebody who comes later is told."""
    for message in messages:
        await net.bus.publish(topic, message)
    await net.bus.settled()
    return await picky.running.values.last(topic)


@pytest.mark.promise("ARG-07", "MQT-03")
async def test_a_late_joiner_gets_the_last_value_with_its_id_and_time(net: Network) -> None:
    message = _status({"busy": True}, metadata={"docs": "a"})
    value = await _say(net, STATUS, _status("idle", -1), message)
    assert value == Value(
        topic=STATUS, content={"busy": True}, id=message.id, sender="clerk", timestamp=message.timestamp
    )


async def test_an_older_value_that_comes_late_or_again_does_not_count(net: Network) -> None:
    old, new = _status("old", 1), _status("new", 2)
    value = await _say(net, STATUS, new, old, new, old)
    assert value is not None
    assert value.content == "new"


async def test_of_two_values_of_one_moment_the_same_one_counts_in_every_order(net: Network) -> None:
    pair = [_status("a", id="1"), _status("b", id="2")]
    for topic, order in (("agent/status/a", pair), ("agent/status/b", pair[::-1])):
        value = await _say(net, topic, *order)
        assert value is not None
        assert value.content == "b"


async def test_a_message_without_content_clears_the_value_and_no_older_one_comes_back(net: Network) -> None:
    old, end = _status("here", 1), _status(None, 2)
    assert await _say(net, STATUS, old, end, old) is None
    with pytest.raises(NotFoundError, match="topic 'agent/status/info' has no last value"):
        await net.invoke("recorder", "values/agent/status/info", verb="GET")


async def test_many_values_at_once_leave_the_newest(net: Network) -> None:
    await asyncio.gather(*(net.bus.publish(STATUS, _status(number, number)) for number in range(20)))
    value = await _say(net, STATUS)
    assert value is not None
    assert value.content == 19


async def test_a_batch_is_kept_as_well(net: Network) -> None:
    await net.bus.publish_batch(STATUS, [_status("one", 1), _status("two", 2)])
    value = await _say(net, STATUS)
    assert value is not None
    assert value.content == "two"


async def test_values_of_one_idempotency_key_are_kept_for_each_topic(net: Network) -> None:
    for number, topic in enumerate(("agent/status/a", "agent/status/b")):
        message = _status(topic, number, delivery=DeliveryMode.EXACTLY_ONCE, idempotency_key="k")
        value = await _say(net, topic, message)
        assert value is not None
        assert (value.content, value.id) == (topic, message.id)


async def test_responses_are_not_retained(net: Network) -> None:
    assert await _say(net, topics.QUERY_RESPONSE, _status("an answer")) is None


async def test_what_names_no_topic_is_no_value_and_a_dead_letter(net: Network) -> None:
    message = _status("stray")
    await net.bus.publish(topics.VALUES, message)
    await net.bus.settled()
    letter: Any = await net.invoke("recorder", f"deadletters/{message.id}", verb="GET")
    assert "does not name a topic" in letter["reasons"][0]["reason"]


async def test_bare_content_is_kept_as_well(net: Network) -> None:
    await net.bus.publish_content(STATUS, {"tools": 3})
    value = await _say(net, STATUS)
    assert value is not None
    assert value.content == {"tools": 3}
