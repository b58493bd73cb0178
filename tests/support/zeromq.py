"""A ZeroMQ component at a real socket, called as a sidecar calls it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from services.zeromq_pubsub.proto import common_pb2, pubsub_pb2
from services.zeromq_pubsub.protocol import SERVICE, name_of
from services.zeromq_pubsub.serving import component_at
from tests.support.ports import free_ports

Instance = tuple[tuple[str, str], ...]


def port_settings() -> dict[str, str]:
    """Two ports that are free now, as settings of the component."""
    port, backend_port = free_ports(2)
    return {"port": str(port), "backend_port": str(backend_port)}


class Pull:
    """One stream of a topic's messages, each to be settled by the test."""

    def __init__(self, stub: SimpleNamespace, topic: str, instance: Instance) -> None:
        self._verdicts: asyncio.Queue[pubsub_pb2.PullMessagesRequest] = asyncio.Queue()
        self._verdicts.put_nowait(pubsub_pb2.PullMessagesRequest(topic=pubsub_pb2.Topic(name=topic)))
        self._call = stub.pull_messages(self._requests(), metadata=instance)
        self._last = ""

    async def _requests(self) -> AsyncIterator[pubsub_pb2.PullMessagesRequest]:
        while True:
            yield await self._verdicts.get()

    async def message(self, seconds: float = 10) -> pubsub_pb2.PullMessagesResponse:
        """The next message, within the seconds."""
        async with asyncio.timeout(seconds):
            message = await self._call.read()
        assert isinstance(message, pubsub_pb2.PullMessagesResponse)
        self._last = message.id
        return message

    async def data(self, seconds: float = 10) -> bytes:
        """The data of the next message."""
        return bytes((await self.message(seconds)).data)

    def acknowledge(self) -> None:
        """The last message was handled."""
        self._verdicts.put_nowait(pubsub_pb2.PullMessagesRequest(ack_message_id=self._last))

    def reject(self) -> None:
        """The last message was not handled."""
        error = pubsub_pb2.AckMessageError(message="no")
        self._verdicts.put_nowait(pubsub_pb2.PullMessagesRequest(ack_message_id=self._last, ack_error=error))

    def cancel(self) -> None:
        """End the stream as a sidecar that stops."""
        self._call.cancel()


class Sidecar:
    """What a sidecar would ask of its component; `name` is that of the component's file."""

    def __init__(self, stub: SimpleNamespace, channel: grpc.aio.Channel, name: str = "") -> None:
        self.stub = stub
        self.channel = channel
        self._instance: Instance = (("x-component-instance", name),) if name else ()
        self._pulls: list[Pull] = []

    async def init(self, group: str, **settings: str) -> None:
        """Initialize the component as the sidecar of an app."""
        properties = {"consumerID": group, **settings}
        request = pubsub_pb2.PubSubInitRequest(metadata=common_pb2.MetadataRequest(properties=properties))
        await self.stub.init(request, metadata=self._instance)

    async def publish(self, topic: str, data: bytes, **metadata: str) -> None:
        """Publish one message."""
        request = pubsub_pb2.PublishRequest(topic=topic, data=data, metadata=metadata)
        await self.stub.publish(request, metadata=self._instance)

    async def publish_bulk(self, topic: str, *data: bytes) -> None:
        """Publish messages at once."""
        entries = [pubsub_pb2.BulkMessageEntry(entry_id=str(number), event=one) for number, one in enumerate(data)]
        request = pubsub_pb2.BulkPublishRequest(topic=topic, entries=entries)
        answer = await self.stub.bulk_publish(request, metadata=self._instance)
        assert not answer.failed_entries, "the sidecar would not tell its app of these"

    def pull(self, topic: str) -> Pull:
        """Subscribe to a topic."""
        self._pulls.append(Pull(self.stub, topic, self._instance))
        return self._pulls[-1]

    def leave(self) -> None:
        """End all streams."""
        for pull in self._pulls:
            pull.cancel()


@contextlib.asynccontextmanager
async def sidecar(folder: Path) -> AsyncIterator[Sidecar]:
    """A component of its own, served in the folder, and its sidecar."""
    path = folder / "zeromq.sock"
    async with component_at(path), grpc.aio.insecure_channel(f"unix:{path}") as channel:
        one = Sidecar(_stub(channel), channel)
        try:
            yield one
        finally:
            one.leave()


def _stub(channel: grpc.aio.Channel) -> SimpleNamespace:
    """What calls each method of the service, by its name as Python writes it."""
    return SimpleNamespace(**{name_of(method): _call(channel, method) for method in SERVICE.methods})


def _call(channel: grpc.aio.Channel, method: MethodDescriptor) -> Any:
    kind = channel.stream_stream if method.server_streaming else channel.unary_unary
    return kind(
        f"/{SERVICE.full_name}/{method.name}",
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
