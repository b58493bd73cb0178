"""The component as the sidecar sees it: Dapr's gRPC service for pub/sub."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any, Final, TypeVar

import grpc

from services.zeromq_pubsub.broker import be_broker
from services.zeromq_pubsub.connection import Connection, Delivered, Stream
from services.zeromq_pubsub.errors import (
    NotInitializedError,
    NotTakenError,
    TooLargeError,
    TopicError,
    ZeroMqError,
)
from services.zeromq_pubsub.proto import common_pb2 as common
from services.zeromq_pubsub.proto import pubsub_pb2 as wire
from services.zeromq_pubsub.proto.pubsub_pb2_grpc import PubSubServicer
from services.zeromq_pubsub.queues import Message
from services.zeromq_pubsub.settings import Settings, read_settings

log = logging.getLogger(__name__)
T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]

FEATURES: Final = ("BULK_PUBSUB", "BULK_SUBSCRIBE_IMMEDIATE")
# The sidecar reads no more than 4 MiB in one message, and a stream that was broken by a larger one is never opened
# again. The rest is for what surrounds the data.
LARGEST: Final = 4 * 1024 * 1024 - 1024
_STREAM: Final = "#"


class Component(PubSubServicer):
    """One sidecar's pub/sub component.

    The sidecar handles one message at a time on each stream that it opens, and opens one for each topic. So a topic
    may be subscribed to under several names, `topic`, `topic#2`, `topic#3`, whose streams share its messages.
    """

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._broker: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Leave the broker, and end it if it runs here."""
        connection, self._connection = self._connection, None
        running, self._broker = self._broker, None
        try:
            if connection is not None:
                await connection.close()
        finally:
            if running is not None:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    async def Init(self, request: wire.PubSubInitRequest, context: Context) -> wire.PubSubInitResponse:  # noqa: N802
        """Connect to the broker; a sidecar that has started again calls this again."""
        await _answer(context, self._open(request.metadata.properties))
        return wire.PubSubInitResponse()

    async def Features(self, request: common.FeaturesRequest, context: Context) -> common.FeaturesResponse:  # noqa: N802, ARG002
        """What the sidecar need not do itself."""
        return common.FeaturesResponse(features=FEATURES)

    async def Publish(self, request: wire.PublishRequest, context: Context) -> wire.PublishResponse:  # noqa: N802
        """Return when the broker has taken the message."""
        message = _message(request.metadata, request.data)
        await _answer(context, self._publish(request.topic, [message]))
        return wire.PublishResponse()

    async def BulkPublish(self, request: wire.BulkPublishRequest, context: Context) -> wire.BulkPublishResponse:  # noqa: N802
        """Return when the broker has taken the messages; names those that it has not."""
        shared = dict(request.metadata)
        messages = [_message({**shared, **entry.metadata}, entry.event) for entry in request.entries]
        try:
            await self._publish(request.topic, messages)
        except NotTakenError as error:
            failed = [
                wire.BulkPublishResponseFailedEntry(entry_id=entry.entry_id, error=str(error))
                for entry in request.entries[len(messages) - error.left :]
            ]
            return wire.BulkPublishResponse(failed_entries=failed)
        except ZeroMqError as error:
            await context.abort(error.status, str(error))
        return wire.BulkPublishResponse()

    async def PullMessages(  # noqa: N802
        self, requests: AsyncIterator[wire.PullMessagesRequest], context: Context
    ) -> AsyncIterator[wire.PullMessagesResponse]:
        """Deliver a topic's messages one after another, each when the one before is settled."""
        first = await anext(requests)
        topic = first.topic.name.partition(_STREAM)[0]
        connection = await _answer(context, self._connected())
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

    async def Pause(self, request: wire.PauseRequest, context: Context) -> wire.PauseResponse:  # noqa: N802, ARG002
        """Deliver nothing more; what is being handled can be settled."""
        connection = await _answer(context, self._connected())
        await connection.pause()
        return wire.PauseResponse()

    async def Resume(self, request: wire.ResumeRequest, context: Context) -> wire.ResumeResponse:  # noqa: N802, ARG002
        """Deliver again."""
        connection = await _answer(context, self._connected())
        await connection.resume()
        return wire.ResumeResponse()

    async def Ping(self, request: common.PingRequest, context: Context) -> common.PingResponse:  # noqa: N802, ARG002
        """Say that this process lives."""
        return common.PingResponse()

    async def _open(self, properties: Mapping[str, str]) -> None:
        settings = read_settings(properties)
        await self.close()
        connection = Connection(settings)
        if settings.start_proxy:
            self._broker = asyncio.create_task(be_broker(settings))
        try:
            await self._opened(connection, settings)
        except BaseException:
            self._connection = connection
            await self.close()
            raise
        self._connection = connection

    async def _opened(self, connection: Connection, settings: Settings) -> None:
        opening = asyncio.create_task(connection.open())
        waited = [opening, self._broker] if self._broker is not None else [opening]
        try:
            done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
        finally:
            opening.cancel()
        log.info("group %r publishes to %s, takes from %s", settings.group, settings.frontend, settings.backend)

    async def _connected(self) -> Connection:
        if self._connection is None:
            raise NotInitializedError("Init comes first: it says which broker to use")
        return self._connection

    async def _publish(self, topic: str, messages: list[Message]) -> None:
        if _STREAM in topic:
            raise TopicError(f"topic {topic!r}: {_STREAM!r} is for the names of streams, and not published to")
        for message in messages:
            size = len(message.metadata) + len(message.data) + len(topic.encode())
            if size > LARGEST:
                raise TooLargeError(
                    f"a message of {size} bytes to {topic!r} is too large: the sidecar takes {LARGEST} back"
                )
        await (await self._connected()).publish(topic, messages)


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
