"""The mailbox: what comes waits until it is received, is leased to one receiver, and is never lost."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest.mock import AsyncMock

import pytest
import pytest_asyncio

from dovecote import App, DeliveryMode, Mailbox, Message, MessageType, Priority, topics
from dovecote.durable_queue import DurableQueue
from dovecote.errors import ConfigurationError, ConflictError, NotFoundError, QueueFullError, UnavailableError
from dovecote.testing import Clock, Network
from services.recorder.main import app as recorder

pytestmark = pytest.mark.asyncio(loop_scope="session")
LEASE = 30.0


@dataclass
class Desk:
    """Three replicas of an app with a mailbox, and somebody who sends to it."""

    net: Network
    clock: Clock
    apps: list[App]
    boxes: list[Mailbox]
    sender: App

    @property
    def box(self) -> Mailbox:
        return self.boxes[0]

    async def send(self, *contents: Any, **fields: Any) -> list[Message]:
        sent = [await self.sender.bus.send("clerk", content, **fields) for content in contents]
        await self.net.bus.settled()
        return sent

    async def letter(self, message: Message) -> Any:
        await self.net.bus.settled()
        return await self.net.invoke("recorder", f"deadletters/{message.id}", verb="GET")


@pytest_asyncio.fixture(loop_scope="session")
async def desk() -> AsyncIterator[Desk]:
    clock, sender = Clock(), App("sender")
    apps = [App("clerk") for _ in range(3)]
    boxes = [Mailbox(app, max_queue_size=1000, lease=LEASE, max_receives=3, clock=clock.now) for app in apps]
    async with Network([*apps, sender, recorder]) as net:
        yield Desk(net, clock, apps, boxes, sender)


def _contents(messages: list[Message]) -> list[Any]:
    return [message.content for message in messages]


@pytest.mark.promise("ACS-02", "AOS-05")
async def test_what_was_sent_is_received_and_gone_when_it_is_acknowledged(desk: Desk) -> None:
    (sent,) = await desk.send("hello")
    received = await desk.box.receive()
    assert received == sent
    await desk.box.acknowledge(sent.id)
    desk.clock.advance(LEASE + 1)
    assert await desk.box.get_messages() == []
    stats = await desk.box.stats()
    assert (stats.depth, stats.added, stats.received, stats.acknowledged) == (0, 1, 1, 1)


async def test_more_urgent_messages_come_first_then_those_that_came_earlier_whatever_their_type(desk: Desk) -> None:
    await desk.send("background", priority=Priority.BACKGROUND)
    await desk.send("first", type=MessageType.TASK)
    await desk.send("second", type=MessageType.EVENT)
    await desk.send("third", type=MessageType.TASK)
    await desk.send("critical", priority=Priority.CRITICAL)
    assert _contents(await desk.box.get_messages(4)) == ["critical", "first", "second", "third"]


async def test_messages_of_one_type_leave_the_others_where_they_are(desk: Desk) -> None:
    await desk.send("task", type=MessageType.TASK)
    await desk.send("query", type=MessageType.QUERY)
    assert _contents(await desk.box.get_messages(types=[MessageType.QUERY])) == ["query"]
    assert _contents(await desk.box.get_messages()) == ["task"]


async def test_order_holds_over_many_segments_of_two_types(desk: Desk) -> None:
    kinds = [MessageType.TASK if number % 7 else MessageType.EVENT for number in range(450)]
    for number, kind in enumerate(kinds):
        await desk.box.put(Message(type=kind, sender="tests", content=number))
    got = [number for _ in range(9) for number in _contents(await desk.box.get_messages(50))]
    assert got == list(range(450))


async def test_a_message_is_one_receivers_until_its_lease_runs_out(desk: Desk) -> None:
    (sent,) = await desk.send("once")
    assert await desk.box.receive() == sent
    desk.clock.advance(LEASE - 1)
    assert await desk.boxes[1].receive() is None
    desk.clock.advance(2)
    assert await desk.boxes[1].receive() == sent
    with pytest.raises(ConflictError, match="ran out, and another receiver has it"):
        await desk.box.acknowledge(sent.id)
    await desk.boxes[1].acknowledge(sent.id)
    assert (await desk.box.stats()).depth == 0


async def test_what_is_at_most_once_is_received_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    first, second = await desk.send("first", "second", delivery=DeliveryMode.AT_MOST_ONCE)
    assert await desk.box.get_messages() == [first, second]
    await desk.box.renew(first.id)
    await desk.box.nack(second.id, reason="not now")
    desk.clock.advance(LEASE + 1)
    assert await desk.boxes[1].get_messages() == []
    await desk.box.acknowledge(first.id)
    assert (await desk.box.stats()).depth == 0
    assert f"message {second.id!r}: lost, since it is not delivered again: not now" in caplog.text


async def test_what_cannot_be_taken_out_is_not_received(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    [once], [lasting] = await desk.send("once", delivery=DeliveryMode.AT_MOST_ONCE), await desk.send("lasting")
    with monkeypatch.context() as away:
        away.setattr(DurableQueue, "remove", AsyncMock(side_effect=UnavailableError("the store is away")))
        assert await desk.box.get_messages() == [lasting]
    desk.clock.advance(LEASE + 1)
    assert await desk.boxes[1].get_messages() == [once, lasting]


async def test_a_lease_that_is_renewed_goes_on(desk: Desk) -> None:
    (sent,) = await desk.send("slow")
    await desk.box.receive()
    desk.clock.advance(LEASE - 1)
    await desk.box.renew(sent.id)
    desk.clock.advance(LEASE - 1)
    assert await desk.boxes[1].receive() is None
    await desk.box.acknowledge(sent.id)


async def test_three_receivers_share_three_hundred_messages_and_none_is_lost_or_doubled(desk: Desk) -> None:
    sent = await desk.send(*range(300))

    async def work(box: Mailbox) -> list[str]:
        done = []
        while messages := await box.get_messages(7):
            for message in messages:
                await box.acknowledge(message.id)
                done.append(message.id)
        return done

    shares = await asyncio.gather(*map(work, desk.boxes))
    assert sorted(one for share in shares for one in share) == sorted(message.id for message in sent)
    assert all(shares)
    stats = await desk.box.stats()
    assert (stats.depth, stats.received, stats.acknowledged) == (0, 300, 300)


async def test_what_a_killed_receiver_held_is_received_by_another(desk: Desk) -> None:
    sent = await desk.send(*range(10))
    held = await desk.boxes[2].get_messages(4)
    await desk.net.stop("clerk-3")
    rest = await desk.box.get_messages(10)
    assert sorted(_contents(held + rest)) == list(range(10))
    desk.clock.advance(LEASE + 1)
    again = await desk.boxes[1].get_messages(20)
    assert {message.id for message in again} == {message.id for message in sent}


async def test_messages_wait_while_the_whole_app_is_away(desk: Desk) -> None:
    await desk.send("before")
    for name in ("clerk", "clerk-2", "clerk-3"):
        await desk.net.stop(name)
    await desk.sender.bus.send("clerk", "meanwhile")
    await desk.net.start("clerk")
    await desk.net.bus.settled()
    assert _contents(await desk.box.get_messages()) == ["before", "meanwhile"]


async def test_a_message_that_comes_again_is_kept_once_before_and_after_it_was_acknowledged(desk: Desk) -> None:
    message = Message(type=MessageType.TASK, sender="tests")
    await asyncio.gather(*(box.put(message) for box in desk.boxes for _ in range(5)))
    assert _contents(await desk.box.get_messages()) == [None]
    await desk.box.acknowledge(message.id)
    await desk.boxes[1].put(message)
    assert (await desk.box.stats()).depth == 0


async def test_an_idempotency_key_counts_as_the_id_does(desk: Desk) -> None:
    await desk.send("one", "two", idempotency_key="bill-17")
    assert _contents(await desk.box.get_messages()) == ["one"]


async def test_a_message_that_is_given_back_is_received_again_after_the_delay(desk: Desk) -> None:
    (sent,) = await desk.send("later")
    await desk.box.receive()
    await desk.box.nack(sent.id, delay=5)
    assert await desk.boxes[1].receive() is None
    desk.clock.advance(6)
    assert await desk.boxes[1].receive() == sent
    assert (await desk.box.stats()).requeued == 1


async def test_a_message_that_is_refused_is_a_dead_letter_with_its_reason(desk: Desk) -> None:
    (sent,) = await desk.send({"a": 1})
    await desk.box.receive()
    await desk.box.nack(sent.id, requeue=False, reason="no such account")
    letter = await desk.letter(sent)
    assert Message.model_validate(letter["message"]) == sent
    (reason,) = letter["reasons"]
    assert (reason["reason"], reason["consumer"], reason["topic"]) == (
        "no such account",
        "clerk",
        topics.inbox("clerk"),
    )
    stats = await desk.box.stats()
    assert (stats.depth, stats.dead) == (0, 1)


async def test_a_dead_letter_that_is_sent_again_is_received_again(desk: Desk) -> None:
    (sent,) = await desk.send("again")
    await desk.box.receive()
    await desk.box.nack(sent.id, requeue=False)
    await desk.sender.bus.send("clerk", sent)
    await desk.net.bus.settled()
    assert await desk.box.receive() == sent


@pytest.mark.parametrize("says", [None, 2, 9])
async def test_what_nobody_acknowledges_is_a_dead_letter_in_the_end(desk: Desk, says: int | None) -> None:
    (sent,) = await desk.send("poison", max_attempts=says)
    for box in desk.boxes[: says or 3]:
        assert await box.receive() == sent
        desk.clock.advance(LEASE + 1)
    assert await desk.box.receive() is None
    letter = await desk.letter(sent)
    assert f"received {min(says or 3, 3)} times and never acknowledged" in letter["reasons"][0]["reason"]


async def test_an_expired_message_is_not_received_and_is_a_dead_letter(desk: Desk) -> None:
    timed, lasting = (await desk.send("soon", ttl=60))[0], (await desk.send("lasting"))[0]
    by_deadline = (await desk.send("by then", deadline=desk.clock.now() + timedelta(seconds=60)))[0]
    desk.clock.advance(61)
    assert await desk.box.get_messages() == [lasting]
    for message in (timed, by_deadline):
        assert "expired" in (await desk.letter(message))["reasons"][0]["reason"]
    assert (await desk.box.stats()).expired == 2


async def test_cleanup_finds_what_expired_wherever_it_waits(desk: Desk) -> None:
    await desk.send(*range(120))
    expiring = await desk.send(*range(130), ttl=60)
    desk.clock.advance(61)
    assert await desk.box.cleanup() == 130
    stats = await desk.box.stats()
    assert (stats.depth, stats.expired) == (120, 130)
    assert (await desk.letter(expiring[-1]))["message"]["id"] == expiring[-1].id


async def test_messages_without_a_time_to_live_get_the_mailboxs() -> None:
    clock, app = Clock(), App("hasty")
    box = Mailbox(app, ttl=3600, clock=clock.now)
    async with Network([app]):
        await box.put(Message(type=MessageType.EVENT, sender="tests"))
        clock.advance(3601)
        assert await box.get_messages() == []


@pytest.mark.promise("AOS-04")
async def test_a_full_mailbox_says_so_and_takes_messages_again_when_there_is_room() -> None:
    app = App("small")
    box = Mailbox(app, max_queue_size=25)
    async with Network([app]):
        for number in range(25):
            await box.put(Message(type=MessageType.EVENT, sender="tests", content=number))
        late = Message(type=MessageType.EVENT, sender="tests", content="late")
        with pytest.raises(QueueFullError, match="has 25 messages, and may have 25"):
            await box.put(late)
        received = await box.receive()
        assert received is not None
        await box.acknowledge(received.id)
        await box.put(late)
        assert (await box.stats()).depth == 25


async def test_nobody_at_a_full_mailbox_loses_a_message_that_it_has_already() -> None:
    app = App("small")
    box = Mailbox(app, max_queue_size=1)
    async with Network([app]):
        message = Message(type=MessageType.EVENT, sender="tests")
        await box.put(message)
        await box.put(message)
        assert (await box.stats()).depth == 1


async def test_many_at_once_do_not_fill_a_mailbox_over_its_size() -> None:
    app = App("small")
    box = Mailbox(app, max_queue_size=50)
    async with Network([app]):
        messages = [Message(type=MessageType.EVENT, sender="tests") for _ in range(80)]
        outcomes = await asyncio.gather(*map(box.put, messages), return_exceptions=True)
        assert sum(outcome is None for outcome in outcomes) == 50
        assert all(isinstance(outcome, QueueFullError) for outcome in outcomes if outcome is not None)


async def test_what_a_full_mailbox_does_not_take_is_tried_again_by_the_broker_and_then_a_dead_letter() -> None:
    app, sender = App("small"), App("sender")
    Mailbox(app, max_queue_size=1)
    async with Network([app, sender, recorder]) as net:
        await sender.bus.send("small", "first")
        await net.bus.settled()
        late = await sender.bus.send("small", "late")
        await net.bus.settled()
        letter: Any = await net.invoke("recorder", f"deadletters/{late.id}", verb="GET")
        assert letter["reasons"][0]["error"] == "QueueFullError"
        assert {row["verdict"] for row in letter["reasons"]} == {"RETRY"}
        assert letter["message"]["content"] == "late"


async def test_who_waits_gets_what_comes_and_nothing_at_the_end_of_its_time(desk: Desk) -> None:
    waiting = asyncio.create_task(desk.box.receive(timeout=20))
    await asyncio.sleep(0)
    (sent,) = await desk.send("at last")
    assert await asyncio.wait_for(waiting, 10) == sent
    assert await desk.box.receive(timeout=0.01) is None


async def test_what_is_not_held_cannot_be_settled(desk: Desk) -> None:
    (sent,) = await desk.send("mine")
    for settle in (desk.box.acknowledge, desk.box.nack, desk.box.renew):
        with pytest.raises(NotFoundError, match=f"message '{sent.id}' is not held here"):
            await settle(sent.id)


@pytest.mark.promise("AOS-05")
async def test_the_bus_of_an_app_receives_from_its_mailbox(desk: Desk) -> None:
    app = desk.apps[0]
    first, second, third = await desk.send("first", "second", "third")
    assert await app.bus.receive(timeout=1) == first
    await app.bus.acknowledge(first.id)
    assert await app.bus.get_messages(5, [MessageType.NOTIFICATION]) == [second, third]
    await app.bus.nack(second.id)
    await app.bus.nack(third.id, requeue=False, reason="no")
    assert await app.bus.receive() == second
    assert (await desk.letter(third))["reasons"][0]["reason"] == "no"


@pytest.mark.promise("AOS-05")
async def test_handlers_made_before_the_mailbox_get_what_is_for_them_and_it_gets_the_rest() -> None:
    app, sender, seen = App("clerk"), App("sender"), list[Message]()

    @app.bus.subscribe(types=[MessageType.COMMAND])
    async def take(message: Message) -> None:
        seen.append(message)

    box = Mailbox(app, also=["news/today"])
    async with Network([app, sender, recorder]) as net:
        command = await sender.bus.send("clerk", "now", type=MessageType.COMMAND)
        told = await sender.bus.broadcast("to all")
        news = await sender.bus.publish("news/today", "news")
        await net.bus.settled()
        assert seen == [command]
        assert await box.get_messages() == [told, news]
        await box.nack(news.id, requeue=False)
        await net.bus.settled()
        letter: Any = await net.invoke("recorder", f"deadletters/{news.id}", verb="GET")
        assert letter["reasons"][0]["topic"] == "news/today"


async def test_a_request_waits_in_the_mailbox_until_it_is_answered() -> None:
    app, asker = App("clerk"), App("asker", requests=True)
    box = Mailbox(app)
    async with Network([app, asker]):
        asking = asyncio.create_task(asker.bus.request("clerk", "how much?", timeout=20))
        request = await box.receive(timeout=10)
        assert request is not None
        assert request.reply_to is not None
        await app.bus.publish(request.reply_to, request.reply("17", sender="clerk"))
        await box.acknowledge(request.id)
        assert (await asking).content == "17"


@pytest.mark.promise("AOS-11")
async def test_a_dead_letter_that_is_resubmitted_is_in_the_mailbox_again(desk: Desk) -> None:
    (sent,) = await desk.send("again")
    await desk.box.receive()
    await desk.box.nack(sent.id, requeue=False, reason="not yet")
    await desk.net.bus.settled()
    await desk.net.invoke("recorder", "deadletters/resubmit", {"id": sent.id})
    assert await desk.box.receive() == sent
    await desk.box.nack(sent.id, requeue=False, reason="never")
    assert [row["reason"] for row in (await desk.letter(sent))["reasons"]] == ["not yet", "never"]


async def test_an_app_without_a_mailbox_says_how_to_get_one_and_has_one_only(desk: Desk) -> None:
    with pytest.raises(ConfigurationError, match="'sender' has no mailbox"):
        await desk.sender.bus.receive()
    app = App("clerk")
    Mailbox(app)
    with pytest.raises(ConfigurationError, match="'clerk' has a mailbox already"):
        Mailbox(app)
