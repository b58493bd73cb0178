"""The fleet over the in-memory ports, in this process."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any

from pydantic import JsonValue
from pydantic_core import to_json

from dovecote.ports import ChatMessage
from dovecote.problems import read_answer
from dovecote.settings import Settings
from dovecote.testing import MEMORY, Network, ScriptedModel
from services.directory.main import app as directory
from services.recorder.main import app as recorder
from tests.conformance.apps.lead import lead
from tests.conformance.apps.receiver import LARGEST, NEWS, receiver
from tests.conformance.apps.worker import worker
from tests.conformance.fleet import MODEL_SECONDS, REPLICAS, Fleet, names


class MemoryFleet(Fleet):
    """Apps on one MemoryBus. What dies here is stopped and started: there is no process to kill."""

    def __init__(self) -> None:
        super().__init__(MEMORY)
        receivers = [receiver(app, name, self.log) for app in ("alpha", "beta") for name in names(app)]
        workers = [worker() for _ in range(REPLICAS["worker"])]
        self.net = Network(
            [directory, recorder, *receivers, lead(), *workers],
            model=ScriptedModel(_answer),
            settings=Settings(max_body=LARGEST),
        )

    async def call(self, app: str, path: str, body: JsonValue = None, verb: str = "POST") -> Any:
        async with self.net.http(app) as http:
            content = None if body is None else to_json(body)
            response = await http.request(
                verb, f"/{path}", content=content, headers={"content-type": "application/json"}
            )
        return read_answer(f"{app}/{path}", response.status_code, response.content)

    async def publish_event(self, event: Mapping[str, Any], topic: str = NEWS) -> None:
        await self.net.bus.publish_event(topic, dict(event))

    def name_of(self, replica: str) -> str:
        return replica

    async def kill(self, replica: str) -> None:
        await self.net.stop(replica)
        await self.net.start(replica)

    async def kill_sidecar(self, replica: str) -> None:
        await self.kill(replica)

    async def stop(self, *apps: str) -> None:
        for name in chain.from_iterable(map(names, apps)):
            await self.net.stop(name)

    async def start(self, *apps: str) -> None:
        for name in chain.from_iterable(map(names, apps)):
            await self.net.start(name)

    async def stop_broker(self) -> None:
        self.net.bus.available = False

    async def start_broker(self) -> None:
        self.net.bus.available = True

    async def kill_broker(self) -> None:
        await self.stop_broker()
        await asyncio.sleep(0)
        await self.start_broker()

    async def ready(self) -> None:
        """An app in memory is ready as soon as it runs."""


async def _answer(messages: Sequence[ChatMessage], _: Any) -> str:
    await asyncio.sleep(MODEL_SECONDS)
    return f"Done: {messages[-1].content}"


@asynccontextmanager
async def memory_fleet() -> AsyncIterator[Fleet]:
    """A running fleet."""
    fleet = MemoryFleet()
    async with fleet.net:
        yield fleet
