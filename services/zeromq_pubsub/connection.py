"""A component's connection to the broker: publishing with confirmation, and streams of deliveries."""

import asyncio
import contextlib
import logging
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import zmq
import zmq.asyncio

from services.zeromq_pubsub import frames
from services.zeromq_pubsub.errors import BrokerUnavailableError, QueueFullError, SettingError, TopicError
from services.zeromq_pubsub.frames import Frames
from services.zeromq_pubsub.queues import Message
from services.zeromq_pubsub.settings import Settings

log = logging.getLogger(__name__)

_ASK_AGAIN_SECONDS: Final = 1.0
_FIRST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.2


@dataclass(frozen=True)
class Delivered:
    """A message that the broker has given to this connection; the number is the broker's."""

    number: int
    message: Message


@dataclass
class _Inbox:
    """The deliveries of one topic, shared by its streams."""

    streams: int = 0
    waiting: asyncio.Queue[Delivered] = field(default_factory=asyncio.Queue)


class Stream:
    """Deliveries of one topic, one after another; each is to be settled before the next is asked for."""

    def __init__(self, connection: "Connection", inbox: _Inbox) -> None:
        self._connection = connection
        self._inbox = inbox

    async def next(self) -> Delivered:
        """Wait for the next delivery."""
        return await self._inbox.waiting.get()

    async def acknowledge(self, delivered: Delivered) -> None:
        """The message is handled: the broker forgets it."""
        await self._connection.settle(frames.ACKNOWLEDGE, delivered)

    async def reject(self, delivered: Delivered) -> None:
        """The message was not handled: the broker delivers it again, later each time."""
        await self._connection.settle(frames.REJECT, delivered)

    async def release(self, delivered: Delivered) -> None:
        """Nobody handles the message here any more: the broker delivers it again at once."""
        await self._connection.settle(frames.RELEASE, delivered)


class Connection:
    """One member of a consumer group; belongs to one event loop, and is to be closed.

    Raises SettingError if the broker's address is none.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context = zmq.asyncio.Context()
        identity = uuid.uuid4().bytes
        try:
            self._frontend = self._connect(settings.frontend, identity)
            self._backend = self._connect(settings.backend, identity)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise SettingError(f"broker_address: {settings.broker_address!r} is no address: {error}") from error
        self._numbers = count(1)
        self._answers: dict[bytes, asyncio.Future[int]] = {}
        self._inboxes: defaultdict[bytes, _Inbox] = defaultdict(_Inbox)
        self._held: set[int] = set()
        self._paused = False
        self._heard = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Return when the broker answers; BrokerUnavailableError if it does not in time."""
        for work in (self._read_answers(), self._read_deliveries(), self._beat()):
            self._tasks.append(asyncio.create_task(work))
            self._tasks[-1].add_done_callback(_report)
        limit = self._settings.connect_timeout / 1000
        try:
            async with asyncio.timeout(limit):
                await self._heard.wait()
        except TimeoutError as error:
            raise self._unavailable() from error
        await self._ask([frames.PING], limit)

    async def close(self) -> None:
        """Leave the group; what was delivered and not settled goes to others."""
        for task in self._tasks:
            task.cancel()
        leaving = asyncio.ensure_future(self._backend.send_multipart([frames.LEAVE], flags=zmq.NOBLOCK))
        if leaving.done():
            leaving.exception()  # a full socket says so, and the broker misses the beats
        for socket in (self._frontend, self._backend):
            # To a broker that was never heard of, nothing will get through.
            socket.close(self._settings.linger if self._heard.is_set() else 0)
        # Waits for what lingers, so it must not hold up the loop, and whoever waits for it may be cancelled.
        ended = asyncio.get_running_loop().run_in_executor(None, self._context.term)
        await asyncio.shield(asyncio.gather(ended, *self._tasks, return_exceptions=True))

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        """Return when the broker has taken all messages, in their order.

        Waits while the topic's queues are full. Raises, after the connect timeout, QueueFullError or
        BrokerUnavailableError; the first of the messages may have been taken then.
        """
        encoded = self._encoded(topic)
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._settings.connect_timeout / 1000
        pause = _FIRST_PAUSE
        rest = messages
        while rest:
            taken = await self._ask([frames.PUBLISH, encoded, *frames.flatten(rest)], deadline - clock())
            rest = rest[taken:]
            if rest and clock() + pause > deadline:
                raise QueueFullError(
                    f"the broker had no room for a message to {topic!r} within "
                    f"{self._settings.connect_timeout} ms: a queue holds {self._settings.high_water_mark}, "
                    "and its consumers are away or too slow"
                )
            if rest:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    @contextlib.asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[Stream]:
        """A stream of the topic's deliveries. Several streams of one topic share them."""
        encoded = self._encoded(topic)
        inbox = self._inboxes[encoded]
        inbox.streams += 1
        await self._send_credit(encoded)
        try:
            yield Stream(self, inbox)
        finally:
            inbox.streams -= 1
            if not inbox.streams:
                await self._give_back(inbox)
            await self._send_credit(encoded)

    async def pause(self) -> None:
        """Take no more deliveries until `resume`; what is being handled can be settled."""
        self._paused = True
        for topic, inbox in self._inboxes.items():
            await self._send_credit(topic)
            await self._give_back(inbox)

    async def resume(self) -> None:
        """Take deliveries again."""
        self._paused = False
        await self._send_credits()

    async def settle(self, verdict: bytes, delivered: Delivered) -> None:
        """Tell the broker what became of a delivery."""
        self._held.discard(delivered.number)
        await self._backend.send_multipart([verdict, frames.pack(delivered.number)])

    def _connect(self, address: str, identity: bytes) -> zmq.asyncio.Socket:
        socket = self._context.socket(zmq.DEALER)
        socket.set_hwm(self._settings.high_water_mark)
        socket.set(zmq.IDENTITY, identity)
        socket.set(zmq.CONNECT_TIMEOUT, self._settings.connect_timeout)
        # A broker that has started again is found within this time.
        socket.set(zmq.RECONNECT_IVL, 50)
        socket.set(zmq.RECONNECT_IVL_MAX, 500)
        socket.connect(address)
        return socket

    async def _ask(self, parts: Frames, limit: float) -> int:
        kind, *rest = parts
        request = frames.pack(next(self._numbers))
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._answers[request] = answer
        try:
            async with asyncio.timeout(limit):
                while not answer.done():
                    await self._frontend.send_multipart([kind, request, *rest])
                    # The connection may have broken under the request or its answer.
                    await asyncio.wait([answer], timeout=_ASK_AGAIN_SECONDS)
        except TimeoutError as error:
            raise self._unavailable() from error
        finally:
            del self._answers[request]
        return answer.result()

    async def _read_answers(self) -> None:
        while True:
            _, request, taken = await self._frontend.recv_multipart()
            answer = self._answers.get(request)
            if answer is not None and not answer.done():
                answer.set_result(frames.number(taken))

    async def _read_deliveries(self) -> None:
        while True:
            kind, *parts = await self._backend.recv_multipart()
            self._heard.set()
            if kind == frames.UNKNOWN:
                await self._send_credits()
                continue
            number, topic, metadata, data = parts
            delivered = Delivered(frames.number(number), Message(metadata, data))
            inbox = self._inboxes[topic]
            if self._paused or not inbox.streams:
                await self.settle(frames.RELEASE, delivered)
            elif delivered.number not in self._held:
                self._held.add(delivered.number)
                inbox.waiting.put_nowait(delivered)

    async def _beat(self) -> None:
        while True:
            await self._backend.send_multipart([frames.BEAT, frames.pack(*self._held)])
            await asyncio.sleep(frames.BEAT_SECONDS)

    async def _send_credits(self) -> None:
        for topic in list(self._inboxes):
            await self._send_credit(topic)

    async def _send_credit(self, topic: bytes) -> None:
        # One each: what a stream cannot begin yet is better off with another replica.
        credit = 0 if self._paused else self._inboxes[topic].streams
        group = self._settings.group.encode()
        await self._backend.send_multipart([frames.SUBSCRIBE, topic, group, frames.pack(credit)])

    async def _give_back(self, inbox: _Inbox) -> None:
        while not inbox.waiting.empty():
            await self.settle(frames.RELEASE, inbox.waiting.get_nowait())

    def _encoded(self, topic: str) -> bytes:
        try:
            return topic.encode(self._settings.topic_encoding)
        except UnicodeError as error:
            raise TopicError(f"topic {topic!r} cannot be written in {self._settings.topic_encoding}") from error

    def _unavailable(self) -> BrokerUnavailableError:
        return BrokerUnavailableError(
            f"no broker answers at {self._settings.frontend} and {self._settings.backend} within "
            f"{self._settings.connect_timeout} ms: start it, or mend broker_address, port and backend_port"
        )


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("the connection to the broker is of no more use", exc_info=error)
