"""The requests that an app is answering: its end waits for them, and sends their clients elsewhere."""

import asyncio
import contextlib
import time
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEALTH: Final = ("/healthz", "/readyz")
_QUIET: Final = 0.3  # seconds without a request after which none is expected
_LOOK: Final = 0.05


class Traffic:
    """Counts what is under way; neither questions about health nor streams of events, which have no end."""

    def __init__(self) -> None:
        self.leaving = False  # then each answer ends its connection, so that the client's next one goes elsewhere
        self._under_way = 0
        self._last = 0.0

    async def quiet(self, limit: float) -> None:
        """Return when callers, who know by now that the app ends, have stopped; after `limit` seconds at most.

        Until then the port must stay open: of deliveries that begin at the same moment the sidecar (1.18) mixes up
        the failures, so that one which nobody took can count as taken.
        """
        self._last = time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while self._under_way or time.monotonic() - self._last < _QUIET:  # noqa: ASYNC110 - silence is no event
                    await asyncio.sleep(_LOOK)

    def begin(self) -> None:
        """A request has come."""
        self._under_way += 1

    def end(self) -> None:
        """It has been answered, or goes on as a stream."""
        self._under_way -= 1
        self._last = time.monotonic()


class Counted:
    """An ASGI app whose requests are counted."""

    def __init__(self, app: ASGIApp, traffic: Traffic) -> None:
        self._app = app
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["path"] in HEALTH:
            return await self._app(scope, receive, send)
        counted = True
        self._traffic.begin()

        async def answer(message: Message) -> None:
            nonlocal counted
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if self._traffic.leaving:
                    headers["connection"] = "close"
                if headers.get("content-type", "").startswith("text/event-stream"):
                    counted = False
                    self._traffic.end()
            await send(message)

        try:
            return await self._app(scope, receive, answer)
        finally:
            if counted:
                self._traffic.end()
