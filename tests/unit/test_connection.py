"""What an app does when its sidecar's broker becomes another one."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from dovecote import App
from dovecote.dapr import connection
from dovecote.dapr.connection import Connection
from dovecote.settings import Settings
from tests.support.eventually import eventually

CAPABILITIES = Path(__file__).resolve().parents[2] / "components" / "capabilities.yaml"


class Sidecar:
    """Reports a component's type, and counts how often it is asked to end."""

    def __init__(self, *_: Any) -> None:
        self.kind = "pubsub.redis"
        self.asked = 0
        self.ended = 0

    async def component_type(self, _: str) -> str:
        self.asked += 1
        return self.kind

    async def shut_down(self) -> None:
        self.ended += 1


@pytest.fixture
def sidecar(monkeypatch: pytest.MonkeyPatch) -> Sidecar:
    one = Sidecar()
    monkeypatch.setattr(connection, "Sidecar", lambda _: one)
    monkeypatch.setattr(connection, "_LOOK", 0.01)
    return one


@pytest.mark.parametrize(
    ("kind", "broker", "ended"),
    [("pubsub.mqtt3", "mqtt", 1), ("pubsub.rabbitmq", "rabbitmq", 0), ("pubsub.unheard", "redis", 0)],
)
async def test_a_sidecar_starts_again_only_if_the_new_broker_spells_topics_in_another_way(
    sidecar: Sidecar, kind: str, broker: str, ended: int
) -> None:
    one = Connection(App("writer"), Settings(capabilities=CAPABILITIES))
    assert (await one.capabilities()).broker == "redis"
    following = asyncio.create_task(one.follow_broker())
    sidecar.kind = kind
    asked = sidecar.asked
    await eventually(lambda: sidecar.asked > asked + 3, "some looks at the broker")
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    assert sidecar.ended == ended
    assert (await one.capabilities()).broker == broker
