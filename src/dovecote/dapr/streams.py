"""Subscriptions that are added while the app runs: one stream to the sidecar each."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
from dapr.proto import api_service_v1, api_v1, appcallback_v1

from dovecote import topics
from dovecote.classes import class_of
from dovecote.dapr.inbound import RAW
from dovecote.dapr.sidecar import Sidecar
from dovecote.delivery import Deliveries
from dovecote.errors import UnavailableError
from dovecote.messages import read_payload
from dovecote.ports import Subscription
from dovecote.topics import Capabilities

log = logging.getLogger(__name__)

_OPENING: Final = 20.0  # seconds until a stream that cannot be opened is an error to who wants it
_PAUSE: Final = 1.0  # seconds between tries at a stream that broke
_LAST: Final = 5.0  # seconds for what is being handled at the end


class Streams:
    """Topics that become known only while the app runs.

    The SDK's own client of streams blocks the event loop when it is made, and gives up after five breaks.
    """

    def __init__(
        self,
        sidecar: Sidecar,
        grpc_port: int,
        capabilities: Callable[[], Awaitable[Capabilities]],
        deliveries: Deliveries,
    ) -> None:
        self._sidecar = sidecar
        self._address = f"127.0.0.1:{grpc_port}"
        self._capabilities = capabilities
        self._deliveries = deliveries

    @contextlib.asynccontextmanager
    async def listen(self, subscription: Subscription) -> AsyncIterator[None]:
        """Take the messages of a raw topic while the block runs, in all its lanes, over any sidecar's restart.

        UnavailableError if the sidecar does not open the stream at first. Where the broker makes groups of
        consumers by a prefix, each replica that listens gets each message.
        """
        async with contextlib.AsyncExitStack() as stack:
            for one in subscription.in_each_lane():
                await stack.enter_async_context(self._listen(one))
            yield

    @contextlib.asynccontextmanager
    async def _listen(self, subscription: Subscription) -> AsyncIterator[None]:
        opened = asyncio.Event()
        keeping = asyncio.create_task(self._keep(subscription, opened))
        try:
            try:
                async with asyncio.timeout(_OPENING):
                    await opened.wait()
            except TimeoutError:
                raise UnavailableError(f"the sidecar opens no stream of topic {subscription.topic!r}") from None
            yield
        finally:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping

    async def _keep(self, subscription: Subscription, opened: asyncio.Event) -> None:
        while True:
            try:
                await self._open(subscription, opened)
            except grpc.aio.AioRpcError as error:
                log.warning("the stream of topic %r broke: %s", subscription.topic, error.details())
            except Exception:
                log.exception("the stream of topic %r broke", subscription.topic)
            await asyncio.sleep(_PAUSE)

    async def _open(self, subscription: Subscription, opened: asyncio.Event) -> None:
        await self._sidecar.wait_until_healthy()
        broker = await self._capabilities()
        wanted = api_v1.SubscribeTopicEventsRequestInitialAlpha1(
            pubsub_name=subscription.lane.component, topic=broker.spell(subscription.lane.topic), metadata=RAW
        )
        if subscription.dead_letter and class_of(subscription.topic).qos:
            wanted.dead_letter_topic = broker.spell(topics.DEAD_LETTERS)
        async with grpc.aio.insecure_channel(self._address) as channel:
            await self._take(subscription, channel, wanted, opened)

    async def _take(
        self, subscription: Subscription, channel: grpc.aio.Channel, wanted: Any, opened: asyncio.Event
    ) -> None:
        """Take messages until the stream ends or breaks."""
        stub: Any = api_service_v1.DaprStub  # generated without types
        stream = stub(channel).SubscribeTopicEventsAlpha1(metadata=tuple(self._sidecar.credentials.items()))
        await stream.write(api_v1.SubscribeTopicEventsRequestAlpha1(initial_request=wanted))
        await stream.read()
        opened.set()
        handling: set[asyncio.Task[None]] = set()
        writing = asyncio.Lock()
        try:
            while (response := await stream.read()) is not grpc.aio.EOF:
                task = asyncio.create_task(self._handle(subscription, stream, response.event_message, writing))
                handling.add(task)
                task.add_done_callback(handling.discard)
        finally:
            # An acknowledgement that comes while its stream is closed can end the sidecar (dapr/dapr#10209).
            if handling:
                await asyncio.wait(handling, timeout=_LAST)
            stream.cancel()

    async def _handle(self, subscription: Subscription, stream: Any, event: Any, writing: asyncio.Lock) -> None:
        status = await self._deliveries.deliver(subscription, read_payload(event.data))
        done = api_v1.SubscribeTopicEventsRequestProcessedAlpha1(
            id=event.id,
            status=appcallback_v1.TopicEventResponse(
                status=appcallback_v1.TopicEventResponse.TopicEventResponseStatus.Value(status)
            ),
        )
        # One that does not get through is delivered again.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            async with writing:
                await stream.write(api_v1.SubscribeTopicEventsRequestAlpha1(event_processed=done))
