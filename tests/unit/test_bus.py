"""The bus as an app uses it."""

import asyncio
from typing import Any

import pytest

from dovecote import App, Message, MessageType, Priority, topics
from dovecote.errors import BatchError, InvalidInputError
from dovecote.testing import Network

TOPIC = "some/topic"


async def test_content_becomes_a_message_of_the_app() -> None:
    app = App("ann")
    async with Network([app]) as net:
        sent = await app.bus.publish(TOPIC, {"a": 1}, priority=Priority.HIGH, ttl=5, order_key="till")
        taken = Message.from_cloudevent(net.bus.events(TOPIC)[0])
    assert taken == sent
    assert (sent.type, sent.sender, sent.content) == (MessageType.EVENT, "ann", {"a": 1})
    assert (sent.priority, sent.ttl, sent.order_key) == (Priority.HIGH, 5, "till")


async def test_a_message_goes_as_it_is_with_what_is_said_of_it() -> None:
    app = App("ann")
    message = Message(type=MessageType.STATUS, sender="somebody", content=[1])
    async with Network([app]):
        assert await app.bus.publish(TOPIC, message) == message
        assert await app.bus.publish(TOPIC, message, ttl=3) == message.model_copy(update={"ttl": 3})


async def test_what_is_sent_is_in_the_inbox_of_its_recipient() -> None:
    app = App("ann")
    async with Network([app]) as net:
        sent = await app.bus.send("bob", "hello")
        [event] = net.bus.events(topics.inbox("bob"))
    assert Message.from_cloudevent(event) == sent
    assert (sent.recipient, sent.type) == ("bob", MessageType.NOTIFICATION)


async def test_a_broadcast_is_for_everyone() -> None:
    app = App("ann")
    async with Network([app]) as net:
        sent = await app.bus.broadcast(Message(type=MessageType.STATUS, sender="ann", recipient="bob"))
        assert [event["id"] for event in net.bus.events(topics.BROADCAST)] == [sent.id]
    assert sent.recipient is None


@pytest.mark.parametrize("fields", [{"ttl": -1}, {"id": ""}, {"encoding": "base64"}])
async def test_fields_that_do_not_fit_are_refused_and_named(fields: Any) -> None:
    app = App("ann")
    async with Network([app]) as net:
        with pytest.raises(InvalidInputError, match=f"no message: .*{next(iter(fields))}"):
            await app.bus.publish(TOPIC, 1, **fields)
        assert not net.bus.events(TOPIC)


async def test_a_batch_is_one_message_for_each_content() -> None:
    app = App("ann")
    async with Network([app]) as net:
        sent = await app.bus.publish_batch(TOPIC, ["a", {"b": 1}], priority=Priority.LOW)
        taken = [Message.from_cloudevent(event) for event in net.bus.events(TOPIC)]
    assert taken == sent
    assert [message.content for message in sent] == ["a", {"b": 1}]
    assert {message.priority for message in sent} == {Priority.LOW}


@pytest.mark.promise("AOS-13")
async def test_each_message_of_a_batch_that_is_not_taken_has_its_reason() -> None:
    app = App("ann")
    batch = [Message(type=MessageType.EVENT, sender="ann", content=number) for number in range(3)]
    async with Network([app]) as net:
        net.bus.available = False
        with pytest.raises(BatchError, match="3 of 3 messages to 'some/topic'") as failed:
            await app.bus.publish_batch(TOPIC, batch)
        net.bus.available = True
    assert list(failed.value.failed) == [message.id for message in batch]
    assert all("not available" in reason for reason in failed.value.failed.values())


async def test_the_bus_of_an_app_that_does_not_run_says_so() -> None:
    with pytest.raises(Exception, match="'ann' is not running"):
        await asyncio.wait_for(App("ann").bus.publish(TOPIC, 1), 5)
