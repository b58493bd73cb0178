"""The broker: queues in memory between publishers at one port and subscribers at another."""

import asyncio
import contextlib
import logging
import struct
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import zmq
import zmq.asyncio

from services.zeromq_pubsub import frames
from services.zeromq_pubsub.ending import asked_to_end
from services.zeromq_pubsub.errors import SettingError
from services.zeromq_pubsub.frames import Frames
from services.zeromq_pubsub.queues import RETENTION, Delivery, Queues
from services.zeromq_pubsub.settings import Settings

log = logging.getLogger(__name__)

_TICK: Final = 0.1
_REMEMBERED: Final = 10_000
_STANDBY_SECONDS: Final = 1.0


class Broker:
    """Takes messages from publishers and delivers them to subscribers; belongs to one event loop.

    In its first `settle` seconds it takes none: members of a broker that was here before come back in that time,
    and what came earlier would miss them.
    """

    def __init__(self, settings: Settings, settle: float = frames.BEAT_SECONDS) -> None:
        self._settled = time.monotonic() + settle
        self._settings = settings
        self._context = zmq.asyncio.Context()
        self._frontend = self._socket()
        self._backend = self._socket()
        self._queues = Queues(settings.high_water_mark, first=time.time_ns())
        # A publisher whose answer got lost asks again: its messages are not to be queued twice.
        self._taken: OrderedDict[tuple[bytes, bytes], int] = OrderedDict()
        self._unheard: set[bytes] = set()

    def bind(self) -> None:
        """Take both ports. Raises zmq.ZMQError if another has one of them."""
        self._frontend.bind(self._settings.frontend)
        self._backend.bind(self._settings.backend)

    async def run(self) -> None:
        """Carry messages until cancelled."""
        log.info("the broker takes messages at %s, gives them at %s", self._settings.port, self._settings.backend)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._serve(self._frontend, self._from_publisher))
            tasks.create_task(self._serve(self._backend, self._from_member))
            tasks.create_task(self._watch())

    def close(self) -> None:
        """Give the ports back; what is still queued is gone."""
        for socket in (self._frontend, self._backend):
            socket.close(self._settings.linger)
        self._context.term()

    def _socket(self) -> zmq.asyncio.Socket:
        socket = self._context.socket(zmq.ROUTER)
        # Without it, what cannot be sent to a peer would be dropped without a word.
        socket.set(zmq.ROUTER_MANDATORY, 1)
        socket.set_hwm(self._settings.high_water_mark)
        return socket

    async def _serve(self, socket: zmq.asyncio.Socket, handle: Callable[[bytes, Frames], None]) -> None:
        while True:
            peer, *parts = await socket.recv_multipart()
            try:
                handle(peer, parts)
            except (IndexError, ValueError, struct.error) as error:
                log.warning("%s sent what is no message of ours: %r (%s)", peer.hex(), parts[:1], error)
            self._deliver()

    def _from_publisher(self, peer: bytes, parts: Frames) -> None:
        kind, request, *rest = parts
        taken = 0
        if kind == frames.PUBLISH:
            taken = self._publish((peer, request), rest)
        elif kind != frames.PING:
            raise ValueError(f"unknown request {kind!r}")
        self._send(self._frontend, [peer, frames.TAKEN, request, frames.pack(taken)])

    def _publish(self, request: tuple[bytes, bytes], parts: Frames) -> int:
        if request in self._taken:
            return self._taken[request]
        if time.monotonic() < self._settled:
            return 0
        topic = parts[0]
        taken = self._queues.publish(topic, frames.gather(parts[1:]))
        if not self._queues.has_group(topic) and topic not in self._unheard:
            self._unheard.add(topic)
            log.info("nobody has subscribed to %r yet: its messages are not kept", topic)
        self._taken[request] = taken
        if len(self._taken) > _REMEMBERED:
            self._taken.popitem(last=False)
        return taken

    def _from_member(self, peer: bytes, parts: Frames) -> None:
        now = time.monotonic()
        match parts:
            case [frames.SUBSCRIBE, topic, group, credit]:
                self._queues.subscribe(peer, topic, group, frames.number(credit), now)
            case [frames.ACKNOWLEDGE, delivery]:
                self._queues.acknowledge(peer, frames.number(delivery))
            case [frames.REJECT, delivery]:
                self._queues.reject(peer, frames.number(delivery), now)
            case [frames.RELEASE, delivery]:
                self._queues.release(peer, frames.number(delivery))
            case [frames.BEAT, held]:
                if not self._queues.beat(peer, frames.unpack(held), now):
                    self._send(self._backend, [peer, frames.UNKNOWN])
            case [frames.LEAVE]:
                self._queues.leave(peer, now)
            case _:
                raise ValueError("unknown request")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            now = time.monotonic()
            for member in self._queues.lost(now):
                count = self._queues.leave(member, now)
                log.warning("member %s is gone; %d messages it had go to others", member.hex(), count)
            for (topic, group), count in self._queues.forget_groups(now):
                log.warning(
                    "%r had no consumer of %r for %g s: %d messages dropped", group, topic, RETENTION, count
                )
            self._deliver()

    def _deliver(self) -> None:
        while due := self._queues.due(time.monotonic()):
            for delivery in due:
                if not self._send(self._backend, _frames(delivery)):
                    self._queues.leave(delivery.member, time.monotonic())

    def _send(self, socket: zmq.asyncio.Socket, parts: Frames) -> bool:
        # Without blocking, it is done when this returns.
        error = asyncio.ensure_future(socket.send_multipart(parts, flags=zmq.NOBLOCK)).exception()
        if error is not None and not isinstance(error, zmq.ZMQError):
            raise error
        if error is not None:
            log.warning("%s does not take what is sent to it: %s", parts[0].hex(), error)
        return error is None


def _frames(delivery: Delivery) -> list[bytes]:
    message = delivery.message
    return [
        delivery.member,
        frames.DELIVER,
        frames.pack(delivery.number),
        delivery.topic,
        message.metadata,
        message.data,
    ]


async def be_broker(settings: Settings) -> None:
    """Be the broker until cancelled, as soon as no other has its ports.

    Raises SettingError if the address is not one of this machine.
    """
    while True:
        broker = Broker(settings)
        with contextlib.closing(broker):
            try:
                broker.bind()
            except zmq.ZMQError as error:
                if error.errno != zmq.EADDRINUSE:
                    raise SettingError(
                        f"broker_address: no broker can be at {settings.frontend}: {error}"
                    ) from error
            else:
                await broker.run()
        await asyncio.sleep(_STANDBY_SECONDS)


async def serve_broker(settings: Settings) -> int:
    """Be the broker until SIGTERM or SIGINT; returns the exit status. Raises SettingError if a port is taken."""
    asked = asked_to_end()
    broker = Broker(settings)
    with contextlib.closing(broker):
        try:
            broker.bind()
        except zmq.ZMQError as error:
            raise SettingError(f"port: no broker can be at {settings.frontend}: {error}") from error
        running = asyncio.create_task(broker.run())
        ending = asyncio.create_task(asked.wait())
        await asyncio.wait([running, ending], return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    return 0
