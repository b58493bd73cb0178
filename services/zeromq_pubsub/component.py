"""The component as the sidecar sees it: Dapr's gRPC service for pub/sub."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc

from services.zeromq_pubsub.broker import be_broker
from services.zeromq_pubsub.connection import Connection, Delivered, Stream
from services.zeromq_pubsub.errors import (
    NotInitializedError,
    TooLargeError,
    TopicError,
    ZeroMqError,
)
from services.zeromq_pubsub.proto import common_pb2 as common
from services.zeromq_pubsub.proto import pubsub_pb2 as wire
from services.zeromq_pubsub.queues import Message
from services.zeromq_pubsub.settings import read_settings

log = logging.getLogger(__name__)
T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]

FEATURES: Final = ("BULK_PUBSUB", "BULK_SUBSCRIBE_IMMEDIATE")
# The sidecar reads no more than 4 MiB in one message, and a stream that was broken by a larger one is never opened
# again. The rest is for what surrounds the data.
LARGEST: Final = 4 * 1024 * 1024 - 1024
_STREAM: Final = "#"
_INSTANCE: Final = "x-component-instance"


@dataclass(frozen=True)
class _Instance:
    """What one component file of the sidecar made: a connection, and the broker if that is here."""

    connection: Connection
    broker: asyncio.Task[None] | None

    async def open(self) -> None:
        """Return when the broker answers."""
        opening = asyncio.create_task(self.connection.open())
        waited = [opening, self.broker] if self.broker is not None else [opening]
        try:
            done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
        finally:
            opening.cancel()

    async def close(self) -> None:
        """Leave the broker, and end it if it runs here."""
        try:
            await self.connection.close()
        finally:
            if self.broker is not None:
                self.broker.cancel()
                await asyncio.gather(self.broker, return_exceptions=True)


class Component:
    """One sidecar's pub/sub components: as many as it has files of this type, told apart by their names.

    The sidecar handles one message at a time on each stream that it opens, and opens one for each topic. So a topic
    may be subscribed to under several names, `topic`, `topic#2`, `topic#3`, whose streams share its messages.
    """

    def __init__(self) -> None:
        self._instances: dict[str, _Instance] = {}

    async def close(self) -> None:
        """Leave the broker, and end it if it runs here."""
        for name in list(self._instances):
            await self._close(name)

    async def init(self, request: wire.PubSubInitRequest, context: Context) -> wire.PubSubInitResponse:
        """Connect to the broker; a sidecar that has started again calls this again."""
        await _answer(context, self._open(_name(context), request.metadata.properties))
        return wire.PubSubInitResponse()

    async def features(self, _request: common.FeaturesRequest, _context: Context) -> common.FeaturesResponse:
        """What the sidecar need not do itself."""
        return common.FeaturesResponse(features=FEATURES)

    async def publish(self, request: wire.PublishRequest, context: Context) -> wire.PublishResponse:
        """Return when the broker has taken the message."""
        message = _message(request.metadata, request.data)
        await _answer(context, self._publish(_name(context), request.topic, [message]))
        return wire.PublishResponse()

    async def bulk_publish(self, request: wire.BulkPublishRequest, context: Context) -> wire.BulkPublishResponse:
        """Return when the broker has taken the messages; otherwise all count as failed.

        The sidecar answers its app that all went well where only an answer names failed entries.
        """
        shared = dict(request.metadata)
        messages = [_message({**shared, **entry.metadata}, entry.event) for entry in request.entries]
        await _answer(context, self._publish(_name(context), request.topic, messages))
        return wire.BulkPublishResponse()

    async def pull_messages(
        self, requests: AsyncIterator[wire.PullMessagesRequest], context: Context
    ) -> AsyncIterator[wire.PullMessagesResponse]:
        """Deliver a topic's messages one after another, each when the one before is settled."""
        first = await anext(requests)
        topic = first.topic.name.partition(_STREAM)[0]
        connection = await _answer(context, self._connected(_name(context)))
        async with connection.subscribe(topic) as stream:
            while True:
                delivered = await stream.next()
                settled = False
                try:
                    yield _response(topic, delivered)
                    settled = await _settle(stream, delivered, requests)
                finally:
                    # The sidecar is gone, or stops: another may have the message.
                    if not settled:
                        await stream.release(delivered)
                if not settled:
                    return

    async def pause(self, _request: wire.PauseRequest, context: Context) -> wire.PauseResponse:
        """Deliver nothing more; what is being handled can be settled."""
        connection = await _answer(context, self._connected(_name(context)))
        await connection.pause()
        return wire.PauseResponse()

    async def resume(self, _request: wire.ResumeRequest, context: Context) -> wire.ResumeResponse:
        """Deliver again."""
        connection = await _answer(context, self._connected(_name(context)))
        await connection.resume()
        return wire.ResumeResponse()

    async def ping(self, _request: common.PingRequest, _context: Context) -> common.PingResponse:
        """Say that this process lives."""
        return common.PingResponse()

    async def _open(self, name: str, properties: Mapping[str, str]) -> None:
        settings = read_settings(properties)
        await self._close(name)
        connection = Connection(settings)
        broker = asyncio.create_task(be_broker(settings)) if settings.start_proxy else None
        instance = _Instance(connection, broker)
        try:
            await instance.open()
        except BaseException:
            await instance.close()
            raise
        self._instances[name] = instance
        if broker is not None:
            broker.add_done_callback(_report)
        log.info("group %r publishes to %s, takes from %s", settings.group, settings.frontend, settings.backend)

    async def _close(self, name: str) -> None:
        if instance := self._instances.pop(name, None):
            await instance.close()

    async def _connected(self, name: str) -> Connection:
        if name not in self._instances:
            raise NotInitializedError("Init comes first: it says which broker to use")
        return self._instances[name].connection

    async def _publish(self, name: str, topic: str, messages: list[Message]) -> None:
        if _STREAM in topic:
            raise TopicError(f"topic {topic!r}: {_STREAM!r} is for the names of streams, and not published to")
        for message in messages:
            size = len(message.metadata) + len(message.data) + len(topic.encode())
            if size > LARGEST:
                raise TooLargeError(
                    f"a message of {size} bytes to {topic!r} is too large: the sidecar takes {LARGEST} back"
                )
        await (await self._connected(name)).publish(topic, messages)


def _report(broker: asyncio.Task[None]) -> None:
    if not broker.cancelled() and (error := broker.exception()) is not None:
        log.critical("the broker that ran here has ended", exc_info=error)


def _name(context: Context) -> str:
    """The name of the component file that a call is about."""
    return str(dict(context.invocation_metadata() or ()).get(_INSTANCE, ""))


async def _answer(context: Context, work: Awaitable[T]) -> T:
    try:
        return await work
    except ZeroMqError as error:
        await context.abort(error.status, str(error))
        raise


async def _settle(stream: Stream, delivered: Delivered, requests: AsyncIterator[wire.PullMessagesRequest]) -> bool:
    try:
        verdict = await anext(requests)
    except StopAsyncIteration:
        return False
    if verdict.HasField("ack_error"):
        log.warning("delivery %d was not handled: %s", delivered.number, verdict.ack_error.message)
        await stream.reject(delivered)
    else:
        await stream.acknowledge(delivered)
    return True


def _message(metadata: Mapping[str, str], data: bytes) -> Message:
    return Message(json.dumps(dict(metadata)).encode(), data)


def _response(topic: str, delivered: Delivered) -> wire.PullMessagesResponse:
    message = delivered.message
    metadata = json.loads(message.metadata)
    return wire.PullMessagesResponse(
        data=message.data, topic_name=topic, metadata=metadata, id=str(delivered.number)
    )
