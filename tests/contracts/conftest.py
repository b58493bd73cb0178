"""Both kinds of ports under one suite: in memory, and on real sidecars with a real broker and store."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from deploy.local.runfile import App as RunFileApp
from deploy.local.system import System
from dovecote.app import App
from dovecote.classes import PUBSUB
from dovecote.codec import Codec, codec_of
from dovecote.codec.keys import encryption_keys, new_keys
from dovecote.dapr import connect as connect_to_sidecar
from dovecote.dapr.crypto import DaprCrypto, DaprSecrets
from dovecote.dapr.sidecar import CLAIMS, Sidecar
from dovecote.dapr.state import DaprState
from dovecote.delivery import Deliveries
from dovecote.messages import new_id
from dovecote.ports import Ports
from dovecote.settings import Settings
from dovecote.testing import (
    MemoryBus,
    MemoryCrypto,
    MemoryInvoke,
    MemorySecrets,
    MemoryState,
    MemoryWorkflows,
    ScriptedModel,
)
from dovecote.topics import read_capabilities
from services.recorder.eventlog import EventLog
from tests.support.probe import Probe

CHECKOUT = Path(__file__).parents[2]
# The keys of the cryptography component, and the secrets of the secret store.
_KEYS = {"old": b"o" * 32, "new": b"n" * 32}
_PRIVATE, _PUBLIC = new_keys(["alpha", "beta"], "1")
_SECRETS = {f"SIGNING_KEY_{name.upper()}": key for name, key in _PRIVATE.items()} | {"SIGNING_KEYS": _PUBLIC}
_PORTS = {"alpha": 21150, "beta": 21160, "twin": 21170, "recorder": 21175}


@dataclass
class Kit:
    """Two running apps, the second with two replicas, on one kind of ports."""

    kind: Literal["memory", "dapr"]
    alpha: Probe
    beta: Probe
    twin: Probe
    # Publishes an event as a client does that knows nothing of Dovecote.
    publish_foreign: Callable[[str, Any, str], Awaitable[None]]
    # The codec of an app with such settings, on the keys and secrets of this kind.
    codec: Callable[[str, Settings], Codec]

    @property
    def replicas(self) -> tuple[Probe, Probe]:
        return self.beta, self.twin


def _probes() -> tuple[Probe, Probe, Probe]:
    return Probe("alpha", collects_failures=True), Probe("beta"), Probe("beta")


def _apps(probes: tuple[Probe, ...]) -> list[App]:
    """The apps of the probes, and one that keeps the log of events."""
    recorder = App("recorder")
    EventLog(recorder)
    return [*(probe.app for probe in probes), recorder]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def memory_kit() -> AsyncIterator[Kit]:
    bus, apis = MemoryBus(), dict[str, FastAPI]()
    states = {"alpha": MemoryState(), "beta": MemoryState(), "recorder": MemoryState()}
    coded = partial(codec_of, claims=bus.claims, crypto=MemoryCrypto(_KEYS), secrets=MemorySecrets(_SECRETS))

    @contextlib.asynccontextmanager
    async def connect(app: App, _: FastAPI, settings: Settings) -> AsyncIterator[Ports]:
        workflows = MemoryWorkflows()
        for name, workflow in app.workflows.items():
            workflows.register(name, workflow)
        for name, activity in app.activities.items():
            workflows.register_activity(name, activity)
        codec = coded(app.name, settings)
        through = bus.through(codec)
        deliveries = Deliveries(app.name, through, settings.concurrency, app.metrics, codec)
        membership = bus.join(app.name, app.subscriptions, deliveries)
        yield Ports(
            through,
            MemoryInvoke(apis),
            states[app.name],
            ScriptedModel(),
            workflows,
            _nothing,
            _at_once,
            _no_sidecar,
            partial(bus.listen, app.name, deliveries),
            codec.reopen,
        )
        await membership.leave()
        await workflows.close()

    async def publish_foreign(topic: str, body: Any, content_type: str) -> None:
        event = body if "cloudevents" in content_type else _wrapped(body)
        await bus.publish_event(topic, event)

    probes = _probes()
    async with contextlib.AsyncExitStack() as stack:
        for app in _apps(probes):
            api = app.build(connect, Settings())
            await stack.enter_async_context(api.router.lifespan_context(api))
            apis[app.name] = api
        yield Kit("memory", *probes, publish_foreign, coded)


async def _nothing() -> list[str]:
    return []


async def _at_once(_: float) -> None:
    pass


async def _no_sidecar() -> None:
    pass


def _wrapped(data: Any) -> dict[str, Any]:
    """What a sidecar makes of plain JSON."""
    return {
        "specversion": "1.0",
        "id": new_id(),
        "source": "stock-client",
        "type": "com.dapr.event.sent",
        "datacontenttype": "application/json",
        "data": data,
    }


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def dapr_kit(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kit]:
    """The apps run in this process; only their sidecars and servers are processes of their own."""
    probes = _probes()
    served = list(zip(_apps(probes), _PORTS.values(), strict=True))
    apps = [_run_file_app(app, port) for app, port in served]
    system = System(
        CHECKOUT,
        tmp_path_factory.mktemp("contracts"),
        apps=apps,
        env={"ENCRYPTION_KEYS": encryption_keys(_KEYS), **_SECRETS},
        resources=[CHECKOUT / "components/crypto"],
        with_model=False,
        restart=False,
    )
    await asyncio.to_thread(system.start)
    try:
        async with contextlib.AsyncExitStack() as stack:
            for app, port in served:
                await stack.enter_async_context(_served(app, port + system.offset))
            await asyncio.to_thread(system.wait_ready)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            broker = read_capabilities(CHECKOUT / "components/capabilities.yaml", "pubsub.redis")

            async def publish_foreign(topic: str, body: Any, content_type: str) -> None:
                url = f"{system.sidecar_url('alpha')}/v1.0/publish/{PUBSUB}/{broker.spell(topic)}"
                async with session.post(url, json=body, headers={"content-type": content_type}) as answer:
                    assert answer.status == 204, await answer.text()

            port = _PORTS["alpha"] + system.offset
            sidecar = Sidecar(port + 1, SecretStr(""))
            stack.push_async_callback(sidecar.close)
            crypto = DaprCrypto(sidecar, port + 2, Settings().encryption_algorithm)
            stack.push_async_callback(crypto.close)
            coded = partial(
                codec_of,
                claims=DaprState(sidecar, CLAIMS),
                crypto=crypto,
                secrets=DaprSecrets(sidecar, Settings().secret_store),
            )
            yield Kit("dapr", *probes, publish_foreign, coded)
    finally:
        await asyncio.to_thread(system.stop)


def _run_file_app(app: App, port: int) -> RunFileApp:
    ports = {
        "appPort": port,
        "daprHTTPPort": port + 1,
        "daprGRPCPort": port + 2,
        "daprInternalGRPCPort": port + 3,
        "metricsPort": port + 4,
    }
    command = ("sleep", "infinity")
    return RunFileApp.model_validate({"appID": app.name, "appDirPath": ".", "command": command, **ports})


@contextlib.asynccontextmanager
async def _served(app: App, port: int) -> AsyncIterator[None]:
    settings = Settings(
        APP_PORT=port,
        DAPR_HTTP_PORT=port + 1,
        DAPR_GRPC_PORT=port + 2,
        capabilities=CHECKOUT / "components/capabilities.yaml",
    )
    config = uvicorn.Config(
        app.build(connect_to_sidecar, settings),
        host="127.0.0.1",
        port=port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        server.should_exit = True
        await serving


@pytest.fixture(params=["memory", pytest.param("dapr", marks=pytest.mark.sidecar)])
def kit(request: pytest.FixtureRequest) -> Kit:
    found: Kit = request.getfixturevalue(f"{request.param}_kit")
    return found
