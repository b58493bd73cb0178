"""The load: messages published through a sidecar, as a backlog or at a steady pace."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self
from urllib.parse import urlsplit

import aiohttp
from pydantic_core import from_json

from deploy.local.system import System
from dovecote import Message, MessageType
from dovecote.classes import PUBSUB
from dovecote.dapr.bus import DaprBus
from dovecote.dapr.sidecar import Sidecar
from dovecote.settings import Settings
from dovecote.topics import read_capabilities

_BATCH: Final = 100
_AT_ONCE: Final = 4
_TEXT: Final = "x" * 330  # with number and time of sending, about 400 bytes of JSON


class Load:
    """Publishes through one sidecar and reads what arrived elsewhere."""

    def __init__(self, bus: DaprBus, http: aiohttp.ClientSession) -> None:
        self.bus = bus
        self._http = http

    @classmethod
    @asynccontextmanager
    async def through(cls, system: System, app: str) -> AsyncIterator[Self]:
        """A load on the sidecar of an app."""
        settings = Settings()
        sidecar = Sidecar(urlsplit(system.sidecar_url(app)).port or 0, settings.dapr_api_token)
        broker = read_capabilities(settings.capabilities, await sidecar.component_type(PUBSUB))

        async def capabilities() -> Any:
            return broker

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=90)) as http:
            try:
                yield cls(DaprBus(sidecar, capabilities), http)
            finally:
                await sidecar.close()

    async def backlog(self, topic: str, count: int) -> None:
        """Publish that many messages as fast as the broker takes them; returns when it has them all."""
        numbers = iter(range(count))

        async def publish() -> None:
            while batch := list(itertools.islice(numbers, _BATCH)):
                await self.bus.publish_batch(topic, [numbered(number) for number in batch])

        await asyncio.gather(*(publish() for _ in range(_AT_ONCE)))

    async def pace(self, topics: list[str], each: int, per_second: float) -> None:
        """Publish single messages, evenly in time, to the topics in turn: `each` to each, at that rate."""
        clock = asyncio.get_running_loop().time
        began, gap = clock(), 1 / (per_second * len(topics))
        async with asyncio.TaskGroup() as group:
            for place, (number, topic) in enumerate(itertools.product(range(each), topics)):
                await asyncio.sleep(max(0.0, began + place * gap - clock()))
                group.create_task(self.bus.publish(topic, numbered(number)))

    async def pace_batches(self, topic: str, count: int, per_second: float, size: int) -> None:
        """Publish batches of that size, evenly in time, `count` messages in all."""
        clock = asyncio.get_running_loop().time
        began = clock()
        async with asyncio.TaskGroup() as group:
            for first in range(0, count, size):
                await asyncio.sleep(max(0.0, began + first / per_second - clock()))
                batch = [numbered(number) for number in range(first, min(first + size, count))]
                group.create_task(self.bus.publish_batch(topic, batch))

    async def get(self, url: str) -> Any:
        """The JSON at an address."""
        async with self._http.get(url, raise_for_status=True) as response:
            return await response.json()

    async def post(self, url: str, body: object = None) -> Any:
        """What is answered to a JSON body: JSON, or None."""
        async with self._http.post(url, json=body, raise_for_status=True) as response:
            return from_json(await response.read() or b"null")


def numbered(number: int) -> Message:
    """A message of the usual size that says when it was made."""
    content = {"number": number, "sent": time.monotonic_ns(), "text": _TEXT}
    return Message(type=MessageType.EVENT, sender="sender", content=content)
