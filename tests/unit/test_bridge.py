"""What a bridge does with one message."""

from pathlib import Path
from typing import Any, cast

from pydantic import JsonValue

from dovecote.dapr import bridge as bridges
from dovecote.dapr.bridge import TARGET, Bridge
from dovecote.errors import UnavailableError
from dovecote.ports import Subscription

CAPABILITIES = Path(__file__).resolve().parents[2] / "components" / "capabilities.yaml"


class Sidecar:
    """A sidecar between Redis and MQTT, whose MQTT broker is away at first."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.published: list[tuple[str, Any]] = []

    async def component_type(self, name: str) -> str:
        return "pubsub.mqtt3" if name == TARGET else "pubsub.redis"

    async def request(self, _: str, path: str, body: object, **__: Any) -> tuple[int, bytes]:
        if not self.answers:
            raise UnavailableError("nobody there")
        self.published.append((path, body))
        return self.answers.pop(0), b"{}"


async def handle(_: Any) -> None:
    raise AssertionError("a bridge does not handle messages")


async def test_an_event_is_published_as_it_came_until_the_new_broker_takes_it(monkeypatch: Any) -> None:
    monkeypatch.setattr(bridges, "_LONGEST_PAUSE", 0.01)
    sidecar = Sidecar(500, 204)
    bridge = Bridge(cast("Any", sidecar), CAPABILITIES)
    event: dict[str, JsonValue] = {"id": "one", "type": "task", "source": "test", "data": 1, "strange": "kept"}
    assert await bridge.deliver(Subscription("agents/ann/inbox", handle), event) == "SUCCESS"
    assert sidecar.published == [("/v1.0/publish/target/agents/ann/inbox", event)] * 2
    assert bridge.passed == {"agents/ann/inbox": 1}
