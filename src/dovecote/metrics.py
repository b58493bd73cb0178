"""Metrics of the messages that an app sends and is handed, in Prometheus' text format at `GET /metrics`.

Their names are those of the AgentOperatingSystem's messaging (section 9.1), as Prometheus writes names and units.
What a broker holds for an app that is away is none of them: Dapr does not tell it. A message is also published
within a span `publish_message`, whose attributes `message_type` and `recipient` are those of section 9.2; it is
recorded where the process has an SDK of OpenTelemetry, and else costs nothing.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Final

from fastapi import APIRouter
from opentelemetry import trace
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import JsonValue
from starlette.responses import Response

from dovecote.classes import class_of
from dovecote.errors import BatchError
from dovecote.messages import Message, now
from dovecote.ports import Publisher

EVERYONE: Final = "*"
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_BARE: Final = "bare"  # the type of what is published as it is, without an envelope


class Metrics:
    """The metrics of one app; its names all begin with `message_bus_`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._depth = Gauge(
            "message_bus_queue_depth",
            "Messages that the app was handed from a topic and has not settled yet, in work or waiting for it.",
            ["topic"],
            registry=self._registry,
        )
        self._published = Counter(
            "message_bus_messages_published",
            "Messages that the broker has taken, by the class of their topic and their type.",
            ["class", "message_type"],
            registry=self._registry,
        )
        self._latency = Histogram(
            "message_bus_delivery_latency_seconds",
            "Time from a message's timestamp to the begin of its handling.",
            ["topic"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        # Finding one by its labels costs as much as a message's handling does beside it.
        self._depth_of = cache(self._depth.labels)
        self._latency_of = cache(self._latency.labels)
        self._late = Counter(
            "message_bus_answers_late",
            "Answers to requests of this app that came when nobody waited for them any more.",
            registry=self._registry,
        )

    def depth(self, topic: str) -> Gauge:
        """How many messages of a topic the app was handed and has not settled yet."""
        return self._depth_of(topic)

    def delivered(self, topic: str, message: Message) -> None:
        """A message's handling begins."""
        self._latency_of(topic).observe(max(0.0, (now() - message.timestamp).total_seconds()))

    def published(self, topic: str, kind: str) -> None:
        """The broker has taken a message."""
        self._published.labels(class_of(topic).name, kind).inc()

    def late(self) -> None:
        """An answer came too late."""
        self._late.inc()

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self._registry)

    def router(self) -> APIRouter:
        """The route `GET /metrics`."""
        router = APIRouter(tags=["metrics"])

        @router.get("/metrics", include_in_schema=False)
        async def metrics() -> Response:
            """What Prometheus asks for."""
            return Response(self.text(), media_type=CONTENT_TYPE_LATEST)

        return router


class MeasuredBus:
    """A bus whose messages are counted, each batch within a span."""

    def __init__(self, bus: Publisher, metrics: Metrics) -> None:
        self._bus = bus
        self._metrics = metrics

    async def publish(self, topic: str, message: Message) -> None:
        """Publish one."""
        async with self._told(topic, [message]):
            await self._bus.publish(topic, message)

    async def publish_batch(self, topic: str, messages: Sequence[Message]) -> None:
        """Publish several."""
        async with self._told(topic, messages):
            await self._bus.publish_batch(topic, messages)

    async def publish_content(self, topic: str, content: dict[str, JsonValue]) -> None:
        """Publish a bare JSON object."""
        await self._bus.publish_content(topic, content)
        self._metrics.published(topic, _BARE)

    @asynccontextmanager
    async def _told(self, topic: str, messages: Sequence[Message]) -> AsyncIterator[None]:
        types = sorted({message.type.value for message in messages})
        recipients = sorted({message.recipient or EVERYONE for message in messages})
        attributes: dict[str, str | int] = {
            "message_type": ",".join(types),
            "recipient": ",".join(recipients),
            "messaging.destination.name": topic,
            "messaging.batch.message_count": len(messages),
        }
        with trace.get_tracer(__name__).start_as_current_span("publish_message", attributes=attributes):
            try:
                yield
            except BatchError as error:
                self._count(topic, [message for message in messages if message.id not in error.failed])
                raise
        self._count(topic, messages)

    def _count(self, topic: str, messages: Sequence[Message]) -> None:
        for message in messages:
            self._metrics.published(topic, message.type.value)
