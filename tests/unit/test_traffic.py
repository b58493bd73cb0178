"""What an app does with requests while it ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import StreamingResponse

from dovecote.traffic import Counted, Traffic


class Door:
    """An app whose requests last until they are let go."""

    def __init__(self) -> None:
        self.traffic = Traffic()
        self.come, self.go = asyncio.Event(), asyncio.Event()
        self.api = FastAPI()
        self.api.add_middleware(Counted, traffic=self.traffic)
        self.api.add_api_route("/held", self._held, methods=["POST"])
        self.api.add_api_route("/stream", self._stream)
        self.api.add_api_route("/healthz", self._held)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.api), base_url="http://door")

    async def _held(self) -> str:
        self.come.set()
        await self.go.wait()
        return "done"

    async def _stream(self) -> StreamingResponse:
        async def events() -> AsyncIterator[str]:
            yield "data: 1\n\n"
            await self._held()

        return StreamingResponse(events(), media_type="text/event-stream")

    def ask(self, verb: str, path: str) -> asyncio.Task[httpx.Response]:
        return asyncio.create_task(self.client.request(verb, path))


@pytest.fixture
def door() -> Door:
    return Door()


async def test_the_end_waits_for_the_requests_under_way(door: Door) -> None:
    asked = door.ask("POST", "/held")
    await door.come.wait()
    ending = asyncio.create_task(door.traffic.quiet(20))
    done, _ = await asyncio.wait([ending], timeout=0.5)
    assert not done
    door.go.set()
    await ending
    assert (await asked).json() == "done"


async def test_the_end_waits_no_longer_than_it_may(door: Door) -> None:
    asked = door.ask("POST", "/held")
    await door.come.wait()
    async with asyncio.timeout(10):
        await door.traffic.quiet(0.1)
    assert not asked.done()
    door.go.set()
    await asked


@pytest.mark.parametrize("path", ["/stream", "/healthz"])
async def test_the_end_waits_neither_for_streams_nor_for_questions_about_health(door: Door, path: str) -> None:
    asked = door.ask("GET", path)
    await door.come.wait()
    async with asyncio.timeout(10):
        await door.traffic.quiet(60)
    assert not asked.done()
    door.go.set()
    await asked


async def test_an_app_that_ends_sends_its_clients_elsewhere_after_their_answer(door: Door) -> None:
    door.go.set()
    assert "connection" not in (await door.ask("POST", "/held")).headers
    door.traffic.leaving = True
    answer: Any = await door.ask("POST", "/held")
    assert (answer.json(), answer.headers["connection"]) == ("done", "close")
