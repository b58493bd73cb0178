"""The sidecar's HTTP API."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from pydantic import SecretStr

from dovecote.dapr.sidecar import Sidecar
from dovecote.errors import UnavailableError
from tests.support.ports import bound_socket


async def test_what_is_asked_after_the_end_of_the_app_is_unavailable() -> None:
    sidecar = Sidecar(1, SecretStr(""))
    await sidecar.close()
    with pytest.raises(UnavailableError, match="the app has ended"):
        await sidecar.request("GET", "/v1.0/metadata")


class Peer:
    """A server that counts connections, and answers when `size` requests wait at once."""

    def __init__(self, size: int) -> None:
        self.connections: set[object] = set()
        self.most = 0
        self._waiting = asyncio.Barrier(size)
        self._inside = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.connections.add(request.transport)
        self._inside += 1
        self.most = max(self.most, self._inside)
        await self._waiting.wait()
        self._inside -= 1
        return web.Response()

    @asynccontextmanager
    async def served(self) -> AsyncIterator[int]:
        site = web.Application()
        site.router.add_get("/", self.answer)
        runner = web.AppRunner(site, access_log=None)
        await runner.setup()
        listening = bound_socket()
        await web.SockSite(runner, listening).start()
        yield int(listening.getsockname()[1])
        await runner.cleanup()


@pytest.mark.promise("AOS-14")
@pytest.mark.parametrize(("connections", "used"), [(0, 12), (3, 3)])
async def test_requests_share_connections_and_open_no_more_than_they_may(connections: int, used: int) -> None:
    peer = Peer(size=used)
    async with peer.served() as port:
        sidecar = Sidecar(port, SecretStr(""), connections=connections)
        for _ in range(3):
            answers = await asyncio.gather(*(sidecar.request("GET", "/") for _ in range(12)))
            assert {status for status, _ in answers} == {200}
        await sidecar.close()
    assert (len(peer.connections), peer.most) == (used, used)
