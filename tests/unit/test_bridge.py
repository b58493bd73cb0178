"""What a bridge does with one message."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import JsonValue
from pydantic_core import from_json

from dovecote import Message, MessageType, Priority
from dovecote.dapr import bridge as bridges
from dovecote.dapr.bridge import TARGET, Bridge
from dovecote.dapr.bus import EVENT
from dovecote.errors import UnavailableError
from dovecote.ports import Subscription

CAPABILITIES = Path(__file__).resolve().parents[2] / "components" / "capabilities.yaml"


class Sidecar:
    """A sidecar between Redis and another broker, which is away at first."""

    def __init__(self, *answers: int, target: str = "pubsub.mqtt3") -> None:
        self.answers = list(answers)
        self.target = target
        self.published: list[tuple[str, JsonValue, Mapping[str, str]]] = []

    async def component_type(self, name: str) -> str:
        return self.target if name == TARGET else "pubsub.redis"

    async def request(self, _: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        if not self.answers:
            raise UnavailableError("nobody there")
        self.published.append((path, from_json(body), headers))
        return self.answers.pop(0), b"{}"


async def handle(_: Any) -> None:
    raise AssertionError("a bridge does not handle messages")


async def test_an_event_is_published_as_it_came_until_the_new_broker_takes_it(monkeypatch: Any) -> None:
    monkeypatch.setattr(bridges, "_LONGEST_PAUSE", 0.01)
    sidecar = Sidecar(500, 204)
    bridge = Bridge(cast("Any", sidecar), CAPABILITIES)
    event: dict[str, JsonValue] = {"id": "one", "type": "task", "source": "test", "data": 1, "strange": "kept"}
    assert await bridge.deliver(Subscription("agents/ann/inbox", handle), event) == "SUCCESS"
    assert sidecar.published == [("/v1.0/publish/target/agents/ann/inbox", event, {"content-type": EVENT})] * 2
    assert bridge.passed == {"agents/ann/inbox": 1}


async def test_what_is_published_raw_stays_raw() -> None:
    sidecar = Sidecar(204)
    subscription = Subscription("agent/query/ask", handle, raw=True)
    await Bridge(cast("Any", sidecar), CAPABILITIES).deliver(subscription, "what is this?")
    path = "/v1.0/publish/target/agent/query/ask?metadata.rawPayload=true"
    assert sidecar.published == [(path, "what is this?", {})]


async def test_the_order_of_a_key_is_kept_by_a_broker_that_keeps_one() -> None:
    sidecar = Sidecar(204, target="pubsub.kafka")
    event = Message(type=MessageType.EVENT, sender="tests", order_key="a key").to_cloudevent()
    await Bridge(cast("Any", sidecar), CAPABILITIES).deliver(Subscription("some/topic", handle), event)
    ((path, *_),) = sidecar.published
    assert path == "/v1.0/publish/target/some.topic?metadata.partitionKey=a+key"


async def test_what_is_urgent_stays_in_its_lane() -> None:
    sidecar = Sidecar(204)
    bridge = Bridge(cast("Any", sidecar), CAPABILITIES)
    event = Message(type=MessageType.EVENT, sender="tests", priority=Priority.HIGH).to_cloudevent()
    [_, urgent] = Subscription("some/topic", handle).in_each_lane()
    await bridge.deliver(urgent, event)
    assert [path for path, *_ in sidecar.published] == ["/v1.0/publish/target/some/topic/urgent"]
    assert bridge.passed == {"some/topic": 1}
