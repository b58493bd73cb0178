"""What is measured of an app's messages, under the names of the reference document."""

import asyncio
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry import trace

from dovecote import App, Message, MessageType
from dovecote.errors import UnavailableError
from dovecote.metrics import MeasuredBus, Metrics
from dovecote.settings import Settings
from dovecote.testing import MemoryBus, Network
from tests.support.eventually import eventually


def _value(text: str, name: str) -> float | None:
    """The value of one line of Prometheus' format."""
    values = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(values[0]) if values else None


@pytest.mark.promise("AOS-23")
async def test_an_app_tells_how_many_messages_wait_how_many_it_sent_and_how_long_they_took() -> None:
    taker, release = App("taker"), asyncio.Event()

    @taker.subscribe("orders")
    async def take(message: Message) -> None:
        await release.wait()

    async with Network([taker], settings=Settings(concurrency=1)) as net, net.http("taker") as client:

        async def told(name: str) -> float | None:
            return _value((await client.get("/metrics")).text, name)

        bus = taker.running.ports.bus
        for _ in range(3):
            await bus.publish("orders", Message(type=MessageType.TASK, sender="taker"))
        depth = 'message_bus_queue_depth{topic="orders"}'

        async def all_wait() -> bool:
            return await told(depth) == 3

        await eventually(all_wait, "three messages that wait")
        assert await told('message_bus_messages_published_total{class="events",message_type="task"}') == 3
        assert await told('message_bus_delivery_latency_seconds_count{topic="orders"}') == 1
        release.set()
        await net.bus.settled()
        assert await told(depth) == 0
        assert await told('message_bus_delivery_latency_seconds_count{topic="orders"}') == 3
        seconds = await told('message_bus_delivery_latency_seconds_sum{topic="orders"}')
        assert seconds is not None
        assert 0 <= seconds < 30


async def test_what_the_broker_did_not_take_is_not_counted_as_published() -> None:
    memory, metrics = MemoryBus(), Metrics()
    memory.available = False
    bus = MeasuredBus(memory, metrics)
    with pytest.raises(UnavailableError):
        await bus.publish("orders", Message(type=MessageType.EVENT, sender="a"))
    with pytest.raises(UnavailableError):
        await bus.publish_content("orders", {})
    assert b"messages_published_total{" not in metrics.text()


@pytest.mark.promise("AOS-23")
async def test_publishing_is_a_span_that_says_what_kind_of_message_goes_to_whom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spans: list[tuple[str, Any]] = []

    class Tracer:
        @contextmanager
        def start_as_current_span(self, name: str, attributes: Any) -> Any:
            spans.append((name, attributes))
            yield

    monkeypatch.setattr(trace, "get_tracer", lambda _: Tracer())
    bus = MeasuredBus(MemoryBus(), Metrics())
    to_one = Message(type=MessageType.TASK, sender="a", recipient="b")
    await bus.publish("agents/b/inbox", to_one)
    await bus.publish_batch("news", [to_one, Message(type=MessageType.EVENT, sender="a")])
    assert [name for name, _ in spans] == ["publish_message"] * 2
    assert (spans[0][1]["message_type"], spans[0][1]["recipient"]) == ("task", "b")
    assert (spans[1][1]["message_type"], spans[1][1]["recipient"]) == ("event,task", "*,b")
