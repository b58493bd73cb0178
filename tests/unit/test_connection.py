"""What an app does when its sidecar's broker becomes another one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from dovecote import App
from dovecote.dapr import connection
from dovecote.dapr.connection import Connection
from dovecote.dapr.sidecar import COMPONENTS, MODEL, STATESTORE
from dovecote.directory import Kind
from dovecote.errors import ConfigurationError, UnavailableError
from dovecote.settings import Settings
from tests.support.eventually import eventually

CAPABILITIES = Path(__file__).resolve().parents[2] / "components" / "capabilities.yaml"


class Sidecar:
    """Reports a component's type, and counts how often it is asked to end."""

    def __init__(self, *_: Any) -> None:
        self.kind = "pubsub.redis"
        self.store = "state.redis"
        self.asked = 0
        self.ended = 0
        self.away = 0

    async def component_type(self, _: str) -> str:
        self.asked += 1
        return self.kind

    async def component_types(self) -> dict[str, str]:
        types = {name: self.kind for name in COMPONENTS if name != MODEL} | {STATESTORE: self.store}
        return {name: kind for name, kind in types.items() if kind}

    async def metadata(self) -> dict[str, Any]:
        types = await self.component_types()
        return {"components": [{"name": name, "type": kind} for name, kind in types.items()]}

    async def wait_until_healthy(self) -> None:
        pass

    async def shut_down(self) -> None:
        if self.away:
            self.away -= 1
            raise UnavailableError("not now")
        self.ended += 1


@pytest.fixture
def sidecar(monkeypatch: pytest.MonkeyPatch) -> Sidecar:
    one = Sidecar()
    monkeypatch.setattr(connection, "Sidecar", lambda *_, **__: one)
    monkeypatch.setattr(connection, "_LOOK", 0.01)
    return one


@pytest.mark.parametrize(
    ("kind", "broker", "ended"),
    [
        ("pubsub.mqtt3", "mqtt", 1),
        ("pubsub.rabbitmq", "rabbitmq", 0),
        ("pubsub.kafka", "kafka", 0),
        ("pubsub.unheard", "redis", 0),
    ],
)
async def test_a_sidecar_starts_again_only_if_the_new_broker_is_subscribed_to_in_another_way(
    sidecar: Sidecar, kind: str, broker: str, ended: int
) -> None:
    one = Connection(App("writer"), FastAPI(), Settings(capabilities=CAPABILITIES))
    assert (await one.subscribing()).broker == "redis"
    sidecar.away = 2
    async with _followed(one):
        sidecar.kind = kind
        asked = sidecar.asked
        await eventually(lambda: sidecar.asked > asked + 3 or sidecar.ended, "some looks at the broker")
    assert sidecar.ended == ended
    assert (await one.capabilities()).broker == broker


@pytest.mark.parametrize(("kind", "missed"), [("agent", True), ("tool", False), ("service", False)])
async def test_only_an_agent_waits_for_a_model(sidecar: Sidecar, kind: Kind, missed: bool) -> None:
    one = Connection(App("writer", kind=kind), FastAPI(), Settings(capabilities=CAPABILITIES))
    assert ("component 'llm' is not loaded" in await one.missing()) == missed


async def test_a_row_that_was_missing_is_read_as_soon_as_it_is_there(sidecar: Sidecar, tmp_path: Path) -> None:
    file = tmp_path / "capabilities.yaml"
    file.write_text(CAPABILITIES.read_text())
    one = Connection(App("writer"), FastAPI(), Settings(capabilities=file))
    await one.subscribing()
    sidecar.kind = "pubsub.mqtt3"
    file.write_text("{}")
    with pytest.raises(ConfigurationError, match="mqtt3"):
        await one.look()
    file.write_text(CAPABILITIES.read_text())
    assert (await one.look()).broker == "mqtt"


async def test_a_sidecar_that_was_told_the_new_names_is_left_alone(sidecar: Sidecar) -> None:
    one = Connection(App("writer"), FastAPI(), Settings(capabilities=CAPABILITIES))
    await one.subscribing()
    async with _followed(one):
        sidecar.kind = "pubsub.mqtt3"
        await eventually(lambda: sidecar.ended == 1, "the sidecar to be asked to end")
        await one.subscribing()
        asked = sidecar.asked
        await eventually(lambda: sidecar.asked > asked + 3, "some more looks")
    assert sidecar.ended == 1


@pytest.mark.promise("ACS-08")
@pytest.mark.parametrize(
    ("mode", "store", "said"),
    [
        ("sql", "state.redis", "'sql' asks for a state.sqlserver, and the sidecar's 'statestore' is a state.redis"),
        ("sql", "state.in-memory", "'sql' asks for .* is a state.in-memory"),
        ("mock", "state.redis", "'mock' asks for a state.in-memory, .* is a state.redis"),
        ("sql", "", "'sql' asks for .* 'statestore' is not loaded"),
    ],
)
async def test_an_app_whose_sidecar_keeps_state_elsewhere_than_its_mode_says_takes_no_work_and_ends(
    sidecar: Sidecar, mode: str, store: str, said: str
) -> None:
    sidecar.store, api = store, FastAPI()
    one = Connection(App("writer"), api, Settings(capabilities=CAPABILITIES, state_mode=mode))
    with pytest.raises(ConfigurationError, match=said) as caught:
        await one.subscribing()
    folder = {"sql": "sqlserver", "mock": "in-memory"}[mode]
    for way in (
        f"components/state/{folder} in resourcesPaths of dapr.yaml",
        f"STATE={folder}",
        f"state.name={folder}",
    ):
        assert way in caught.value.mend
    assert api.state.fault is caught.value
    await one.start_worker()
    assert "the workflow worker is not connected" in await one.missing()


@pytest.mark.promise("ACS-08")
@pytest.mark.parametrize(("mode", "store"), [("mock", "state.in-memory"), ("", "state.in-memory")])
async def test_an_app_says_that_its_state_is_in_memory_at_its_start_and_in_its_health(
    sidecar: Sidecar, caplog: pytest.LogCaptureFixture, mode: str, store: str
) -> None:
    sidecar.store = store
    one = Connection(App("writer"), FastAPI(), Settings(capabilities=CAPABILITIES, state_mode=mode))
    await one.subscribing()
    await one.subscribing()
    [note] = one.ports.notes()
    assert note.startswith("state is kept in the sidecar's memory: it is lost with the sidecar")
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [note]


@pytest.mark.promise("ACS-08")
@pytest.mark.parametrize(("mode", "store"), [("sql", "state.sqlserver"), ("", "state.redis"), ("", "state.oracle")])
async def test_an_app_with_the_store_of_its_mode_has_nothing_to_say_of_it(
    sidecar: Sidecar, mode: str, store: str
) -> None:
    sidecar.store = store
    one = Connection(App("writer"), FastAPI(), Settings(capabilities=CAPABILITIES, state_mode=mode))
    await one.subscribing()
    assert one.ports.notes() == []


@contextlib.asynccontextmanager
async def _followed(one: Connection) -> AsyncIterator[None]:
    following = asyncio.create_task(one.follow_broker())
    try:
        yield
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
