"""An app that notes what its sidecar delivers, served by the test itself, and a checkout with such apps alone."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from deploy.local.ports import HOST

_PORTS = ("appPort", "daprHTTPPort", "daprGRPCPort", "daprInternalGRPCPort", "metricsPort")


class Subscriber:
    """Notes the data of each event, and waits with its answer, or asks for the event again, as a test says."""

    def __init__(self, subscriptions: Sequence[Mapping[str, Any]] = ()) -> None:
        self.seen: list[Any] = []
        self._subscriptions = list(subscriptions)
        self._done: set[Any] = set()
        self.waits: dict[Any, float] = {}
        self.retries: dict[Any, int] = {}

    def api(self) -> web.Application:
        """What the sidecar calls; each subscription's route is `/` and its topic."""
        api = web.Application()
        api.router.add_get("/dapr/subscribe", self._subscribe)
        api.router.add_get("/{probe:healthz|readyz}", self._ready)
        api.router.add_post("/{topic}", self._take)
        return api

    def done(self, value: Any) -> bool:
        """Say whether a value was taken for good."""
        return value in self._done

    def times(self, value: Any) -> int:
        """How often a value was delivered."""
        return self.seen.count(value)

    async def _subscribe(self, _: web.Request) -> web.Response:
        return web.json_response(self._subscriptions)

    async def _ready(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _take(self, request: web.Request) -> web.Response:
        value = (await request.json())["data"]
        self.seen.append(value)
        await asyncio.sleep(self.waits.get(value, 0))
        if self.retries.get(value, 0) > 0:
            self.retries[value] -= 1
            return web.json_response({"status": "RETRY"})
        self._done.add(value)
        return web.json_response({"status": "SUCCESS"})


def write_checkout(folder: Path, apps: Mapping[str, int], resources: Sequence[Path]) -> Path:
    """A run file whose apps, by name and first port, are served by the test; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "appID": name,
            "appDirPath": ".",
            "command": ["sleep", "infinity"],
            "resourcesPaths": [str(path) for path in resources],
            **{kind: first + number for number, kind in enumerate(_PORTS)},
        }
        for name, first in apps.items()
    ]
    (folder / "dapr.yaml").write_text(yaml.safe_dump({"version": 1, "apps": rows}))
    return folder


@asynccontextmanager
async def served(api: web.Application, port: int) -> AsyncIterator[None]:
    """An app at a port of the loopback, while the block runs."""
    runner = web.AppRunner(api)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    try:
        yield
    finally:
        await runner.cleanup()
