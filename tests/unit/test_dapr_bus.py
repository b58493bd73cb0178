"""What the bus asks its sidecar for."""

from typing import Any, cast

import pytest
from pydantic_core import from_json, to_json

from dovecote import Message, MessageType, Priority, topics
from dovecote.dapr.bus import DaprBus
from dovecote.errors import BatchError, TooLargeError, UnavailableError
from dovecote.topics import Capabilities

BROKER = Capabilities(broker="one", separator=".", group_prefix="", durable=True, max_message_bytes=2000)


class Sidecar:
    """A sidecar that takes everything, but the first entry of what goes to the path `refused`."""

    def __init__(self, refused: str = "", *, away: str = "") -> None:
        self.refused = refused
        self.away = away
        self.taken: dict[str, Any] = {}
        self.calls: list[int] = []

    async def request(self, _: str, path: str, body: bytes, **__: Any) -> tuple[int, bytes]:
        if path == self.away:
            raise UnavailableError("it is away")
        if path == self.refused:
            return 500, to_json({"failedEntries": [{"entryId": "0", "error": "it is full"}]})
        self.taken[path] = from_json(body)
        self.calls.append(len(self.taken[path]))
        return 204, b""


def _bus(sidecar: Sidecar) -> DaprBus:
    async def capabilities() -> Capabilities:
        return BROKER

    return DaprBus(cast("Any", sidecar), capabilities)


def _task(id_: str, priority: Priority = Priority.NORMAL, content: Any = None) -> Message:
    return Message(id=id_, type=MessageType.TASK, sender="tests", priority=priority, content=content)


async def test_an_urgent_message_is_published_in_the_lane_of_its_topic() -> None:
    sidecar = Sidecar()
    bus = _bus(sidecar)
    await bus.publish(topics.inbox("ann"), _task("slow", Priority.BACKGROUND))
    await bus.publish(topics.inbox("ann"), _task("soon", Priority.HIGH))
    await bus.publish_content(topics.inbox("ann"), {"priority": 0})
    assert list(sidecar.taken) == [
        "/v1.0/publish/pubsub/agents.ann.inbox",
        "/v1.0/publish/urgent/agents.ann.inbox.urgent",
        "/v1.0/publish/pubsub/agents.ann.inbox?metadata.rawPayload=true",
    ]


async def test_a_batch_is_one_call_for_each_of_its_lanes() -> None:
    sidecar = Sidecar()
    batch = [_task("a"), _task("b", Priority.CRITICAL), _task("c", Priority.LOW)]
    await _bus(sidecar).publish_batch("some/topic", batch)
    assert {path: [one["event"]["id"] for one in entries] for path, entries in sidecar.taken.items()} == {
        "/v1.0/publish/bulk/pubsub/some.topic": ["a", "c"],
        "/v1.0/publish/bulk/urgent/some.topic.urgent": ["b"],
    }


async def test_a_batch_over_the_limit_of_a_message_goes_in_several_calls() -> None:
    sidecar = Sidecar()
    batch = [_task(str(number), content="x" * 100) for number in range(9)]
    await _bus(sidecar).publish_batch("some/topic", batch)
    assert sum(sidecar.calls) == 9
    assert 1 < len(sidecar.calls) < 9


@pytest.mark.promise("AOS-13")
async def test_each_message_of_a_batch_that_is_not_taken_has_its_reason_whichever_lane_it_takes() -> None:
    lane = "/v1.0/publish/bulk/urgent/some.topic.urgent"
    urgent = [_task("b", Priority.CRITICAL), _task("c", Priority.HIGH)]
    sidecar = Sidecar(refused=lane)
    with pytest.raises(BatchError, match=r"1 of 3 messages to .* the first was 'b': it is full") as failed:
        await _bus(sidecar).publish_batch("some/topic", [_task("a"), *urgent])
    assert failed.value.failed == {"b": "it is full"}
    with pytest.raises(BatchError, match="2 of 3 messages") as failed:
        await _bus(Sidecar(away=lane)).publish_batch("some/topic", [_task("a"), *urgent])
    assert failed.value.failed == {"b": "it is away", "c": "it is away"}
    assert list(sidecar.taken) == ["/v1.0/publish/bulk/pubsub/some.topic"]


async def test_a_batch_of_values_to_keep_names_each_that_is_not_taken() -> None:
    sidecar = Sidecar(away="/v1.0/publish/pubsub/tools.weather.register")
    with pytest.raises(BatchError, match="2 of 2") as failed:
        await _bus(sidecar).publish_batch("tools/weather/register", [_task("a"), _task("b")])
    assert failed.value.failed == {"a": "it is away", "b": "it is away"}


@pytest.mark.parametrize("topic", ["some/topic", "tools/weather/register"])
async def test_of_a_batch_with_too_large_a_message_nothing_is_sent(topic: str) -> None:
    sidecar = Sidecar()
    with pytest.raises(TooLargeError, match="'b'"):
        await _bus(sidecar).publish_batch(topic, [_task("a"), _task("b", Priority.HIGH, "x" * 3000)])
    assert not sidecar.taken
