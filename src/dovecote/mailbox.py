"""The mailbox: a pull inbox, for an app that takes its messages when it wants to.

The broker's delivery ends when the message is in the app's durable queue; from there it is leased to who asks, and
comes again if it is not acknowledged in time. All replicas of the app share one mailbox.

The names are those of the Agent Operating System's messaging, section 3.1. Of the Agent Communication System's
MessageQueueManager, send_message is `bus.send`, mark_processed is `acknowledge`, and get_queue_stats is `stats`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from dovecote import topics
from dovecote.delivery import bury
from dovecote.durable_queue import ALL, DurableQueue, Leased, QueueStats
from dovecote.errors import (
    ConfigurationError,
    ConflictError,
    DovecoteError,
    InvalidInputError,
    NotFoundError,
    QueueFullError,
    Reject,
)
from dovecote.inbox import Route
from dovecote.messages import DeliveryMode, Message, MessageType, new_id, now
from dovecote.results import refusal

if TYPE_CHECKING:
    from dovecote.app import App, Running

log = logging.getLogger(__name__)

REFUSED: Final = "refused by its receiver"
_LOOK: Final = 0.5  # seconds between two looks for what other replicas have put


class Mailbox:
    """What comes for an app, and what comes on other topics given, until it is received and acknowledged.

    Of what comes for the app, and for everyone, it takes what is for no handler made before it: of `types`, or all.
    Whoever waits for an answer is told that the message is here; the answer is published by who handles it, and is
    the error if the message is a dead letter in the end.
    A message is the receiver's for `lease` seconds. It is a dead letter when it was received `max_receives` times,
    or the `max_attempts` it allows, and never acknowledged, or when its time is over; `ttl` is that of messages
    without one, in seconds. With `max_queue_size` messages in it no more are taken: the broker keeps them and tries
    again. Replicas count each for themselves, and each may exceed that by a tenth of the room that it found.
    """

    def __init__(  # noqa: PLR0913 - what is to be said of a mailbox
        self,
        app: "App",
        *,
        types: Iterable[MessageType] = (),
        also: Iterable[str] = (),
        max_queue_size: int = 1000,
        ttl: float | None = None,
        lease: float = 30.0,
        max_receives: int = 10,
        clock: Callable[[], datetime] = now,
    ) -> None:
        if app.mailbox is not None:
            raise ConfigurationError(f"app {app.name!r} has a mailbox already", mend="name all its topics in one")
        self._app = app
        app.mailbox = self
        self._topic = topics.inbox(app.name)
        self._size, self._ttl, self._lease, self._receives = max_queue_size, ttl, lease, max_receives
        self._clock = clock
        self._running: Running | None = None
        app.inbox.open()
        app.inbox.routes.add(Route(self._take, frozenset(types), answers=False))
        for topic in also:
            app.subscribe(topic)(partial(self.put, topic=topic))

    async def put(self, message: Message, topic: str | None = None) -> None:
        """Return when the message is kept, once however often it comes; QueueFullError if there is no room.

        `topic` is where it came from, if not from the app's inbox.
        """
        queue = self._queue()
        async with self._admission:
            if self._room <= 0 and not await queue.known(message):
                await self._look_for_room(queue)
            self._room -= 1
            self._coming += 1
        try:
            await queue.put(message, topic or self._topic, self._end(message))
        finally:
            self._coming -= 1
        self._grown.set()

    async def get_messages(self, limit: int = 10, types: Iterable[MessageType] = ()) -> list[Message]:
        """Up to `limit` messages that wait, the most urgent first, then in the order of their coming.

        Of `types`, or of all. Each is to be acknowledged, or given back with `nack`. One that may be handled at
        most once is gone with that: to acknowledge it changes nothing, and it cannot be given back.
        """
        queue, wanted = self._queue(), frozenset(types) or ALL
        self._forget_lapsed()
        due: list[Leased] = []
        while len(due) < limit:
            leased = await queue.lease(limit - len(due), wanted, self._lease)
            if not leased:
                break
            due += [one for one in leased if await self._is_due(one)]
        found = [one for one in due if await self._is_given(one)]
        self._held |= {one.message.id: one for one in found}
        return [one.message for one in found]

    async def receive(self, timeout: float = 0.0, types: Iterable[MessageType] = ()) -> Message | None:  # noqa: ASYNC109 - None at its end, no error
        """The next message; None if none has come after `timeout` seconds."""
        wanted, clock = [*types], asyncio.get_running_loop().time
        until = clock() + timeout
        while True:
            self._queue()
            self._grown.clear()
            if found := await self.get_messages(1, wanted):
                return found[0]
            if (left := until - clock()) <= 0:
                return None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, _LOOK)):
                    await self._grown.wait()

    async def acknowledge(self, message_id: str) -> None:
        """Say that a message was handled: it is gone for good.

        ConflictError if its lease ran out and another receiver got it; NotFoundError if it was not received here.
        """
        leased = self._leased(message_id)
        if not _at_most_once(leased):
            _check(settled=await self._queue().remove(leased, "acknowledged"), message_id=message_id)
        self._held.pop(message_id, None)

    async def nack(
        self, message_id: str, *, requeue: bool = True, reason: str = REFUSED, delay: float = 0.0
    ) -> None:
        """Give a message back: to whoever receives next, after `delay` seconds, or else to the dead letters.

        Raises as `acknowledge` does. `reason` is what the dead letter says.
        """
        leased = self._leased(message_id)
        if _at_most_once(leased):
            log.warning("message %r: lost, since it is not delivered again: %s", message_id, reason)
        elif requeue:
            _check(settled=await self._queue().release(leased, delay), message_id=message_id)
        else:
            _check(settled=await self._bury(leased, Reject(reason), "dead"), message_id=message_id)
        self._held.pop(message_id, None)
        self._grown.set()

    async def renew(self, message_id: str) -> None:
        """Hold a message for the time of one lease from now. Raises as `acknowledge` does."""
        leased = self._leased(message_id)
        if not _at_most_once(leased):
            _check(settled=await self._queue().renew(leased, self._lease), message_id=message_id)
        leased.entry.until = self._clock().timestamp() + self._lease

    async def stats(self) -> QueueStats:
        """What waits, and what became of messages so far, over all replicas."""
        return await self._queue().stats()

    async def cleanup(self) -> int:
        """Make dead letters of all messages whose time is over, and return how many there were.

        Without it that happens to each when it is its turn.
        """
        leased = await self._queue().lease_expired(self._lease)
        return sum([not await self._is_due(one) for one in leased])

    async def _take(self, message: Message) -> None:
        await self.put(message)
        if message.reply_to is not None:
            accepted = message.accepted(sender=self._app.name)
            await self._app.running.ports.bus.publish(message.reply_to, accepted)

    def _queue(self) -> DurableQueue:
        running = self._app.running
        if running is not self._running:
            self._running = running
            self._durable = DurableQueue(running.ports.state, self._app.name, new_id(), self._clock)
            self._held: dict[str, Leased] = {}
            self._grown, self._admission = asyncio.Event(), asyncio.Lock()
            self._room = self._coming = 0
        return self._durable

    async def _look_for_room(self, queue: DurableQueue) -> None:
        depth = (await queue.stats()).depth
        free = self._size - depth - self._coming
        if free <= 0:
            raise QueueFullError(
                f"the mailbox of {self._app.name!r} has {depth} messages, and may have {self._size}",
                mend="acknowledge faster, with more replicas, or set a larger max_queue_size",
            )
        self._room = max(1, free // 10)

    def _end(self, message: Message) -> datetime | None:
        ttl = message.ttl or self._ttl
        ends = [message.deadline, message.timestamp + timedelta(seconds=ttl) if ttl else None]
        return min((end for end in ends if end is not None), default=None)

    async def _is_due(self, leased: Leased) -> bool:
        """Whether a message may be received; else it is a dead letter."""
        entry = leased.entry
        limit = min(self._receives, leased.message.max_attempts or self._receives)
        if entry.over(self._clock().timestamp()):
            why: Literal["dead", "expired"] = "expired"
            error = InvalidInputError(f"message {entry.id!r} expired before it was received")
        elif entry.receives > limit:
            why = "dead"
            error = InvalidInputError(f"message {entry.id!r} was received {limit} times and never acknowledged")
        else:
            return True
        try:
            await self._bury(leased, error, why)
        except DovecoteError as failed:
            log.warning("message %r will be a dead letter later: %s", entry.id, failed)
        return False

    async def _is_given(self, leased: Leased) -> bool:
        """Whether a message may be handed over; one that may be so at most once is taken out before."""
        if not _at_most_once(leased):
            return True
        try:
            return await self._queue().remove(leased, "acknowledged")
        except DovecoteError as failed:
            log.warning("message %r is not handed over now: %s", leased.message.id, failed)
            return False

    async def _bury(self, leased: Leased, error: DovecoteError, why: Literal["dead", "expired"]) -> bool:
        bus, entry = self._app.running.ports.bus, leased.entry
        if not await self._queue().renew(leased, self._lease):
            return False
        name, attempt = self._app.name, entry.receives
        await bury(bus, leased.message, error, topic=leased.topic, consumer=name, attempt=attempt)
        if leased.message.reply_to:
            told = refusal(leased.message, error, sender=self._app.name)
            await bus.publish(leased.message.reply_to, told)
        return await self._queue().remove(leased, why)

    def _leased(self, message_id: str) -> Leased:
        self._queue()
        if message_id not in self._held:
            raise NotFoundError(
                f"message {message_id!r} is not held here: it was not received, or is settled",
                mend="settle what receive or get_messages gave, once, in the same process",
            )
        return self._held[message_id]

    def _forget_lapsed(self) -> None:
        long_ago = self._clock().timestamp() - 10 * self._lease
        for message_id in [one for one, leased in self._held.items() if leased.entry.until < long_ago]:
            del self._held[message_id]


def _at_most_once(leased: Leased) -> bool:
    return leased.message.delivery is DeliveryMode.AT_MOST_ONCE


def _check(*, settled: bool, message_id: str) -> None:
    if not settled:
        raise ConflictError(
            f"the lease of message {message_id!r} ran out, and another receiver has it",
            mend="settle sooner, renew the lease, or give the mailbox a longer one",
        )
