"""A tally: which messages of a topic have arrived, when, and how long each was under way."""

import asyncio
import contextlib
import time
from collections import defaultdict
from typing import Any

from fastapi import APIRouter
from pydantic_core import to_json
from starlette.responses import Response


class Tally:
    """Counts the messages of one topic; cheap enough not to show in what it measures."""

    def __init__(self) -> None:
        self.deliveries = 0
        self.delays: dict[int, int] = {}
        self.last = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._wanted = 0
        self._reached = asyncio.Event()

    async def add(self, content: Any) -> None:
        """Note one delivery of a message whose content has its number and when it was sent, in ns."""
        if not self.gate.is_set():
            await self.gate.wait()
        self.last = time.monotonic_ns()
        self.deliveries += 1
        self.delays.setdefault(content["number"], self.last - content["sent"])
        if len(self.delays) == self._wanted:
            self._reached.set()

    async def reach(self, wanted: int, limit: float) -> None:
        """Return when `wanted` different messages have arrived, or after `limit` seconds."""
        self._wanted = wanted
        if len(self.delays) < wanted:
            self._reached.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reached.wait(), limit)


class Tallies:
    """The tallies of an app, one for each topic, and the routes by which they are read."""

    def __init__(self) -> None:
        self._tallies: defaultdict[str, Tally] = defaultdict(Tally)

    def __getitem__(self, topic: str) -> Tally:
        return self._tallies[topic]

    def add_routes(self, router: APIRouter) -> None:
        """Serve the tallies under /tallies."""
        route = router.add_api_route
        route("/tallies/{topic}", self._start, methods=["POST"], status_code=204)
        route("/tallies/{topic}/gate", self._open, methods=["POST"], response_model=None)
        route("/tallies/{topic}", self._read, methods=["GET"], response_model=None)
        route("/tallies/{topic}/delays", self._delays, methods=["GET"], response_model=None)

    async def _start(self, topic: str, closed: bool = False) -> None:
        tally = self._tallies[topic] = Tally()
        if closed:
            tally.gate.clear()

    async def _open(self, topic: str) -> Response:
        """Let the handlers go on; answers with the time, in ns."""
        self._tallies[topic].gate.set()
        return _json({"at": time.monotonic_ns()})

    async def _read(self, topic: str, count: int, limit: float = 60) -> Response:
        tally = self._tallies[topic]
        await tally.reach(count, limit)
        return _json({"deliveries": tally.deliveries, "messages": len(tally.delays), "last": tally.last})

    async def _delays(self, topic: str) -> Response:
        return _json(list(self._tallies[topic].delays.values()))


def _json(value: object) -> Response:
    return Response(to_json(value), media_type="application/json")
