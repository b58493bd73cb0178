"""The broker inside of a component."""

import asyncio
from pathlib import Path

import grpc
import pytest

from services.zeromq_pubsub.queues import Queues
from tests.support.eventually import eventually
from tests.support.zeromq import port_settings, sidecar

TOPIC = "agents.writer.inbox"


@pytest.fixture
def ports() -> dict[str, str]:
    return port_settings()


async def test_a_broker_cannot_be_embedded_at_an_address_of_another_machine(tmp_path: Path) -> None:
    async with sidecar(tmp_path) as one:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await one.init("writer", broker_address="192.0.2.1")
        code, text = caught.value.code(), str(caught.value.details())
        assert (code, text.partition(":")[0]) == (grpc.StatusCode.INVALID_ARGUMENT, "broker_address")


async def test_embedded_the_first_component_is_the_broker_and_another_follows_it(
    tmp_path: Path, ports: dict[str, str]
) -> None:
    async with sidecar(tmp_path / "second") as second:
        async with sidecar(tmp_path / "first") as first:
            await first.init("writer", **ports)
            await second.init("other", **ports)
            pull = second.pull(TOPIC)
            reading = asyncio.ensure_future(pull.data())
            while not reading.done():
                await first.publish(TOPIC, b"by the first")
                await asyncio.wait([reading], timeout=0.1)
        pull.acknowledge()
        await second.publish(TOPIC, b"by the second")
        while (data := await pull.data()) != b"by the second":
            assert data == b"by the first"
            pull.acknowledge()


async def test_an_embedded_broker_that_ends_by_an_error_says_so(
    tmp_path: Path, ports: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_queues: Queues, _now: float) -> list[bytes]:
        raise RuntimeError("it is broken")

    def told() -> list[str]:
        return [row.getMessage() for row in caplog.records if row.levelname == "CRITICAL"]

    async with sidecar(tmp_path) as one:
        await one.init("writer", **ports)
        monkeypatch.setattr(Queues, "lost", fail)
        assert await eventually(told, "the log") == ["the broker that ran here has ended"]
    assert "it is broken" in caplog.text
