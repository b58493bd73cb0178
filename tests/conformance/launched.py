"""The fleet on the launcher: every app a process with a sidecar, over a real broker."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web
from pydantic import JsonValue
from pydantic_core import to_json

from deploy.local.errors import LauncherError, NotReadyError
from deploy.local.runfile import App, load_run_file
from deploy.local.system import System
from dovecote.classes import PUBSUB
from dovecote.errors import UnavailableError
from dovecote.problems import read_answer
from dovecote.topics import Capabilities
from tests.conformance.apps.receiver import LARGEST, NEWS
from tests.conformance.fleet import MODEL_SECONDS, REPLICAS, Fleet, names
from tests.conformance.logbook import Entry, Logbook
from tests.support import containers
from tests.support.brokers import BrokerSetup
from tests.support.eventually import eventually
from tests.support.model_server import ModelServer
from tests.support.ports import bound_socket
from tests.support.whole import CHECKOUT

_MODULES: Final = {
    "alpha": "tests.conformance.apps.serving",
    "beta": "tests.conformance.apps.serving",
    "lead": "tests.conformance.apps.lead",
    "worker": "tests.conformance.apps.worker",
}
logger = logging.getLogger(__name__)
_SERVERS: Final = {"mqtt": "mosquitto"}  # others are called as their folder of components/pubsub
_PORTS: Final = dict.fromkeys(("port", "http_port", "grpc_port", "internal_grpc_port", "metrics_port"), 0)
_SCRIPT: Final = {
    "rules": [
        {
            "name": "work",
            "when": {"system": "You are the worker"},
            "delay": MODEL_SECONDS,
            "text": "Done: {question}",
        }
    ]
}
_READY_SECONDS: Final = 120.0


class LaunchedFleet(Fleet):
    """Apps as processes over a broker that was come by as `setup` says."""

    def __init__(self, broker: Capabilities, system: System, setup: BrokerSetup, log: Logbook) -> None:
        super().__init__(broker)
        self.log = log
        self.system = system
        self._server = _server(system, broker, setup)
        self._container = setup.container
        # An app closes a connection that was idle for a while, which fails a request that is on its way.
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))

    async def close(self) -> None:
        """Let go of the connections to the apps."""
        await self._session.close()

    async def call(self, app: str, path: str, body: JsonValue = None, verb: str = "POST") -> Any:
        return await self._request(verb, f"{self.system.url(app)}/{path}", body, "application/json")

    async def publish_event(self, event: Mapping[str, Any], topic: str = NEWS) -> None:
        url = f"{self.system.sidecar_url('beta')}/v1.0/publish/{PUBSUB}/{self.broker.spell(topic)}"
        await self._request("POST", url, dict(event), "application/cloudevents+json")

    async def _request(self, verb: str, url: str, body: JsonValue, content_type: str) -> JsonValue:
        # A large body as plain bytes would be warned of.
        content = None if body is None else BytesIO(to_json(body))
        try:
            async with self._session.request(
                verb, url, data=content, headers={"content-type": content_type}
            ) as response:
                return read_answer(url, response.status, await response.read())
        except aiohttp.ClientError as error:
            raise UnavailableError(f"{url} does not answer: {error}") from error

    def name_of(self, replica: str) -> str:
        return next(name for name in self.system.apps if self.system.url(name).endswith(f":{replica}"))

    async def kill(self, replica: str) -> None:
        await asyncio.to_thread(self.system.kill, replica)

    async def kill_sidecar(self, replica: str) -> None:
        await asyncio.to_thread(self.system.kill_sidecar, replica)

    async def stop(self, *apps: str) -> None:
        stopped = [*chain.from_iterable(map(names, apps))]
        for part in ("", "-daprd"):
            await asyncio.gather(*(asyncio.to_thread(self.system.halt, name + part) for name in stopped))

    async def start(self, *apps: str) -> None:
        for name in chain.from_iterable(map(names, apps)):
            await asyncio.to_thread(self.system.resume, name)
            await asyncio.to_thread(self.system.resume, f"{name}-daprd")
        await self.ready()

    async def stop_broker(self) -> None:
        await asyncio.to_thread(self.system.halt, self._own_server())

    async def start_broker(self) -> None:
        await asyncio.to_thread(self.system.resume, self._own_server())

    async def kill_broker(self) -> None:
        await asyncio.to_thread(self.system.kill, self._own_server())
        if self._container is not None:
            await asyncio.to_thread(containers.remove, self._container)

    async def ready(self) -> None:
        async def look() -> bool:
            try:
                await asyncio.to_thread(self.system.wait_ready)
            except NotReadyError as error:
                # A sidecar that finds no broker ends, again and again, and is started again all the same.
                logger.info("not ready yet: %s", error)
                return False
            return True

        await eventually(look, "the whole fleet", _READY_SECONDS)

    def _own_server(self) -> str:
        assert self._server is not None, "somebody else runs the broker: it cannot be restarted here"
        return self._server


@asynccontextmanager
async def launched_fleet(broker: Capabilities, setup: BrokerSetup, home: Path) -> AsyncIterator[Fleet]:
    """A running fleet over a broker, ended afterwards."""
    log = Logbook()
    async with _served(log) as url:
        with ModelServer(_SCRIPT) as model:
            env = {
                "CONFORMANCE_LOGBOOK": url,
                "DEMO_MODEL_URL": model.url,
                "DOVECOTE_RESEND_AFTER": "3",
                "DOVECOTE_MAX_BODY": str(LARGEST),
                **setup.env,
            }
            system = System(
                CHECKOUT,
                home,
                apps=_apps(),
                broker=broker.broker,
                with_model=False,
                env=env,
                brokers=setup.brokers,
            )
            await asyncio.to_thread(system.start)
            fleet = LaunchedFleet(broker, system, setup, log)
            try:
                await fleet.ready()
                yield fleet
            finally:
                await fleet.close()
                await asyncio.to_thread(system.stop)


def _apps() -> list[App]:
    """The services that the fleet needs as they are deployed, and its own apps, as often as they have replicas."""
    known = {app.app_id: app for app in load_run_file(CHECKOUT / "dapr.yaml").select(None)}
    apps = []
    for name, count in REPLICAS.items():
        app = known.get(name)
        if app is None:
            model = known["directory"]
            command = (*model.command[:-1], _MODULES[name])
            app = model.model_copy(update={"app_id": name, "command": command, **_PORTS})
        apps += [app] * count
    return apps


def _server(system: System, broker: Capabilities, setup: BrokerSetup) -> str | None:
    """The name of the broker's process, where it is one of the system's."""
    if setup.brokers:
        return setup.brokers[0].program.name
    name = _SERVERS.get(broker.broker, broker.broker)
    try:
        system.pid(name)
    except LauncherError:
        return None
    return name


@asynccontextmanager
async def _served(log: Logbook) -> AsyncIterator[str]:
    """The logbook at an address."""

    async def write(request: web.Request) -> web.Response:
        order = await log(Entry.model_validate_json(await request.read()))
        return web.json_response(text=order.model_dump_json())

    site = web.Application(client_max_size=32 << 20)
    site.router.add_post("/", write)
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=1)
    await runner.setup()
    listening = bound_socket()
    await web.SockSite(runner, listening).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        await runner.cleanup()
