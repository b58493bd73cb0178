"""The recorder: the journal of each task, and the dead letters with their reasons."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from dovecote import App, Message, MessageType, Reject, TaskEvent, topics
from dovecote.errors import NotFoundError, UnavailableError
from dovecote.testing import Network
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
