"""What is to be retained reaches a recorder that was away when it was said."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic_core import from_json

from dovecote import Message, MessageType, topics
from dovecote.dapr.bus import DaprBus
from dovecote.topics import Capabilities, read_capabilities

CAPABILITIES = Path(__file__).resolve().parents[2] / "components" / "capabilities.yaml"


class Sidecar:
    """Takes everything, and keeps where it went and what it was."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Any]] = []

    async def request(
        self,
        _: str,
        path: str,
        body: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        limit: float = 60.0,
    ) -> tuple[int, bytes]:
        assert limit < 60, headers
        self.taken.append((path, from_json(body)))
        return 204, b""


@pytest.mark.parametrize(("kind", "repeated"), [("pubsub.mqtt3", ["new", "gone"]), ("pubsub.redis", [])])
async def test_the_last_value_of_each_topic_is_said_again_where_the_broker_keeps_none(
    kind: str, repeated: list[str]
) -> None:
    sidecar = Sidecar()

    async def capabilities() -> Capabilities:
        return read_capabilities(CAPABILITIES, kind)

    bus = DaprBus(cast("Any", sidecar), capabilities)
    for topic, content in [("client_status/a", "old"), ("client_status/a", "new"), ("client_status/b", "gone")]:
        await bus.publish(topic, Message(type=MessageType.STATUS, sender="tests", content=content, ttl=1))
    await bus.publish("some/topic", Message(type=MessageType.EVENT, sender="tests", content="not retained"))
    sidecar.taken.clear()
    await bus.repeat_values()
    assert [entry["event"]["data"] for _, entries in sidecar.taken for entry in entries] == repeated
    assert not any("ttl" in entry["event"] for _, entries in sidecar.taken for entry in entries)
    assert all(path == f"/v1.0/publish/bulk/pubsub/{topics.VALUES}" for path, _ in sidecar.taken)
