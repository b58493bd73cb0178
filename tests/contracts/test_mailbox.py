"""What every mailbox does: it is a queue in the state store, which the broker fills."""

import asyncio

import pytest

from dovecote import Message, MessageType, Priority
from dovecote.durable_queue import ALL, DurableQueue
from dovecote.messages import new_id
from dovecote.testing import Clock
from tests.contracts.conftest import Kit
from tests.support.eventually import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]
LEASE = 30.0


class Receivers:
    """Three receivers of one queue, at two replicas of an app, with a clock of their own."""

    def __init__(self, kit: Kit) -> None:
        self.clock = Clock()
        name = new_id()
        states = [replica.ports.state for replica in (kit.beta, kit.twin, kit.beta)]
        self.queues = [DurableQueue(state, name, new_id(), self.clock.now) for state in states]

    async def put(self, *messages: Message) -> None:
        slots = asyncio.Semaphore(30)

        async def put(number: int, message: Message) -> None:
            async with slots:
                assert await self.queues[number % 3].put(message, "tests")

        await asyncio.gather(*(put(number, message) for number, message in enumerate(messages)))


def _task(content: int, **fields: Priority) -> Message:
    return Message(type=MessageType.TASK, sender="tests", content=content, **fields)


async def test_three_receivers_share_three_hundred_messages_and_none_is_lost_or_doubled(kit: Kit) -> None:
    receivers = Receivers(kit)
    await receivers.put(*(_task(number) for number in range(300)))

    async def work(queue: DurableQueue) -> list[object]:
        done: list[object] = []
        while leased := await queue.lease(10, ALL, LEASE):
            removed = await asyncio.gather(*(queue.remove(one, "acknowledged") for one in leased))
            assert all(removed)
            done += [one.message.content for one in leased]
        return done

    shares = await asyncio.gather(*map(work, receivers.queues))
    assert sorted(content for share in shares for content in map(str, share)) == sorted(map(str, range(300)))
    stats = await receivers.queues[0].stats()
    assert (stats.depth, stats.added, stats.received, stats.acknowledged) == (0, 300, 300, 300)


async def test_what_a_receiver_does_not_acknowledge_is_another_ones_when_the_lease_is_over(kit: Kit) -> None:
    receivers = Receivers(kit)
    first, second, _ = receivers.queues
    await receivers.put(*(_task(number) for number in range(5)))
    held = await first.lease(3, ALL, LEASE)
    assert len(await second.lease(10, ALL, LEASE)) == 2
    receivers.clock.advance(LEASE + 1)
    again = await second.lease(10, ALL, LEASE)
    assert sorted(str(one.message.content) for one in again) == list("01234")
    assert not any([await first.remove(one, "acknowledged") for one in held])
    assert all([await second.remove(one, "acknowledged") for one in again])
    assert (await first.stats()).depth == 0


async def test_a_message_that_many_put_at_once_is_there_once_and_not_again_when_it_is_done(kit: Kit) -> None:
    receivers, message = Receivers(kit), _task(1)
    puts = [queue.put(message, "tests") for queue in receivers.queues for _ in range(4)]
    assert sum(await asyncio.gather(*puts)) == 1
    (leased,) = await receivers.queues[0].lease(10, ALL, LEASE)
    await receivers.queues[0].remove(leased, "acknowledged")
    assert not await receivers.queues[1].put(message, "tests")
    assert (await receivers.queues[2].stats()).depth == 0


async def test_more_urgent_messages_are_leased_first(kit: Kit) -> None:
    receivers = Receivers(kit)
    for number, priority in enumerate([Priority.LOW, Priority.NORMAL, Priority.CRITICAL, Priority.NORMAL]):
        await receivers.put(_task(number, priority=priority))
    leased = await receivers.queues[0].lease(10, ALL, LEASE)
    assert [one.message.content for one in leased] == [2, 1, 3, 0]


async def test_what_is_sent_to_an_app_is_received_at_one_of_its_replicas(kit: Kit) -> None:
    sent = [await kit.alpha.app.bus.send("beta", number, type=MessageType.TASK) for number in range(20)]
    received: list[Message] = []

    async def receive() -> bool:
        for replica in kit.replicas:
            for message in await replica.app.bus.get_messages(5):
                received.append(message)
                await replica.app.bus.acknowledge(message.id)
        return len(received) >= 20

    await eventually(receive, "all messages")
    assert sorted(message.id for message in received) == sorted(message.id for message in sent)
    assert (await kit.twin.mailbox.stats()).depth == 0


async def test_what_its_receiver_refuses_is_a_dead_letter_with_its_reason(kit: Kit) -> None:
    sent = await kit.alpha.app.bus.send("beta", {"a": 1}, type=MessageType.TASK)
    assert await kit.beta.app.bus.receive(timeout=20) == sent
    await kit.beta.app.bus.nack(sent.id, requeue=False, reason="no such account")
    (dead,) = await eventually(lambda: kit.alpha.dead[sent.id], "the dead letter")
    (reason,) = await eventually(lambda: kit.alpha.reasons[sent.id], "the reason")
    assert (dead, reason["reason"], reason["consumer"]) == (sent, "no such account", "beta")


async def test_what_is_given_back_is_received_again_by_whoever_asks(kit: Kit) -> None:
    sent = await kit.alpha.app.bus.send("beta", "back", type=MessageType.TASK)
    assert await kit.beta.app.bus.receive(timeout=20) == sent
    await kit.beta.app.bus.nack(sent.id)
    assert await kit.twin.app.bus.receive(timeout=20) == sent
    await kit.twin.app.bus.acknowledge(sent.id)
