"""A steady load on the replicas of `worker`: events, calls through sidecars, and calls from outside."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Final

import aiohttp

from deploy.local.system import System
from dovecote import Message, MessageType, topics
from dovecote.topics import read_capabilities
from tests.support.whole import CHECKOUT

_PAUSE: Final = 0.01  # seconds between two requests of one client
_LOOK: Final = 0.5  # seconds between two looks at which replica is ready, as an endpoint controller needs them


class Load:
    """What was sent, and what went wrong. `caller` is the app whose sidecar is the senders'."""

    def __init__(self, system: System, caller: str, replicas: Sequence[str]) -> None:
        self.published: list[str] = []
        self.answered = 0
        self.failures: list[str] = []
        self._sidecar = f"{system.sidecar_url(caller)}/v1.0"
        self._urls = [system.url(name) for name in replicas]
        self._ready = self._urls
        self._numbers = itertools.count()
        capabilities = read_capabilities(CHECKOUT / "components/capabilities.yaml", "pubsub.redis")
        self._topic = capabilities.spell(topics.inbox("worker"))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Four clients of each kind, while the block runs; their last requests are waited for."""
        ending = asyncio.Event()
        async with aiohttp.ClientSession() as session:
            kinds: list[Callable[[aiohttp.ClientSession], Coroutine[Any, Any, None]]] = [
                self._publish,
                self._invoke,
                self._call,
            ]
            tasks = [asyncio.create_task(_repeat(kind, session, ending)) for kind in kinds * 4]
            tasks.append(asyncio.create_task(self._watch(session, ending)))
            try:
                yield
            finally:
                ending.set()
                await asyncio.gather(*tasks)

    async def _publish(self, session: aiohttp.ClientSession) -> None:
        task = Message(type=MessageType.TASK, sender="load", content=next(self._numbers))
        url = f"{self._sidecar}/publish/pubsub/{self._topic}"
        headers = {"content-type": "application/cloudevents+json"}
        if await self._send(session, url, 204, json=task.to_cloudevent(), headers=headers):
            self.published.append(task.id)

    async def _invoke(self, session: aiohttp.ClientSession) -> None:
        await self._send(session, f"{self._sidecar}/invoke/worker/method/calls/{next(self._numbers)}")

    async def _call(self, session: aiohttp.ClientSession) -> None:
        number = next(self._numbers)
        await self._send(session, f"{self._ready[number % len(self._ready)]}/calls/{number}")

    async def _send(self, session: aiohttp.ClientSession, url: str, wanted: int = 200, **more: Any) -> bool:
        try:
            async with session.post(url, **more) as answer:
                told = "" if answer.status == wanted else f"{answer.status} {await answer.text()}"
        except aiohttp.ClientError as error:
            told = repr(error)
        if told:
            self.failures.append(f"{url}: {told}")
        else:
            self.answered += 1
        return not told

    async def _watch(self, session: aiohttp.ClientSession, ending: asyncio.Event) -> None:
        """Keep to the replicas that say that they are ready."""
        while not ending.is_set():
            ready = [url for url in self._urls if await _is_ready(session, url)]
            self._ready = ready or self._ready
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await ending.wait()


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def _repeat(
    send: Callable[[aiohttp.ClientSession], Coroutine[Any, Any, None]],
    session: aiohttp.ClientSession,
    ending: asyncio.Event,
) -> None:
    while not ending.is_set():
        await send(session)
        await asyncio.sleep(_PAUSE)
