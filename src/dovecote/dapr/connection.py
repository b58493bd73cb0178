"""Connects an app to its sidecar, and tells what is still missing."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI

from dovecote.classes import PUBSUB
from dovecote.codec import codec_of
from dovecote.dapr.bus import DaprBus
from dovecote.dapr.crypto import DaprCrypto, DaprSecrets
from dovecote.dapr.inbound import Inbound
from dovecote.dapr.invoke import DaprInvoke
from dovecote.dapr.model import DaprModel
from dovecote.dapr.sidecar import CLAIMS, COMPONENTS, MODEL, STATESTORE, Sidecar
from dovecote.dapr.state import DaprState
from dovecote.dapr.stores import notes_on, require_agreed
from dovecote.dapr.streams import Streams
from dovecote.dapr.workflow import DaprWorkflows
from dovecote.delivery import Deliveries
from dovecote.errors import ConfigurationError, DovecoteError, UnavailableError
from dovecote.ports import Ports
from dovecote.settings import Settings
from dovecote.topics import Capabilities, read_capabilities

log = logging.getLogger(__name__)
_LOOK: Final = 2.0  # seconds between two looks at which broker it is

if TYPE_CHECKING:
    from dovecote.app import App


class Connection:
    """All that one app holds of its sidecar."""

    def __init__(self, app: "App", api: FastAPI, settings: Settings) -> None:
        self._app = app
        self._api = api
        self._settings = settings
        self._sidecar = Sidecar(
            settings.dapr_http_port,
            settings.dapr_api_token,
            connections=settings.sidecar_connections,
            idle=settings.sidecar_idle,
        )
        self._capabilities: Capabilities | None = None
        self._broker = ""
        self._told: Capabilities | None = None
        self._notes: list[str] = []
        self._workflows = DaprWorkflows(settings.dapr_grpc_port, concurrency=settings.concurrency)
        self._model = DaprModel(self._sidecar, settings.dapr_grpc_port)
        self._worker_started = False
        for name, workflow in app.workflows.items():
            self._workflows.register(name, workflow)
        for name, activity in app.activities.items():
            self._workflows.register_activity(name, activity)
        self._crypto = DaprCrypto(self._sidecar, settings.dapr_grpc_port, settings.encryption_algorithm)
        self._codec = codec = codec_of(
            app.name,
            settings,
            claims=DaprState(self._sidecar, CLAIMS),
            crypto=self._crypto,
            secrets=DaprSecrets(self._sidecar, settings.secret_store),
        )
        self._bus = DaprBus(self._sidecar, self.capabilities, codec)
        deliveries = Deliveries(app.name, self._bus, settings.concurrency, app.metrics, codec)
        Inbound(api, app, deliveries, self.subscribing)
        self.ports = Ports(
            bus=self._bus,
            invoke=DaprInvoke(self._sidecar),
            state=DaprState(self._sidecar),
            model=self._model,
            workflows=self._workflows,
            missing=self.missing,
            drain=self._workflows.drain,
            release=self.release,
            listen=Streams(self._sidecar, settings.dapr_grpc_port, self.capabilities, deliveries).listen,
            reopen=codec.reopen,
            notes=lambda: self._notes,
        )

    async def capabilities(self) -> Capabilities:
        """The active broker's row, by the component type that the sidecar reported last."""
        return self._capabilities or await self.look()

    async def look(self) -> Capabilities:
        """The active broker's row, by the component type that the sidecar reports now."""
        kind = await self._sidecar.component_type(PUBSUB)
        if self._capabilities is None or kind != self._broker:
            self._capabilities = read_capabilities(self._settings.capabilities, kind)
            log.log(logging.WARNING if self._broker else logging.INFO, "component %r is now %s", PUBSUB, kind)
            self._broker = kind
        return self._capabilities

    async def subscribing(self) -> Capabilities:
        """The row by which the sidecar, which asks for subscriptions, is told the names of topics."""
        await self.check_store()
        self._told = await self.look()
        return self._told

    async def follow_broker(self) -> None:
        """Subscribe anew when the component file has become another broker's while the system runs.

        A sidecar that loads the new component without starting again keeps to the names of topics that it was told
        at its start: where the new broker spells them in another way, it is asked to start again.
        """
        while True:
            await asyncio.sleep(_LOOK)
            try:
                if self._told is not None and (await self.look()).subscribed != self._told.subscribed:
                    await self._sidecar.shut_down()
                    self._told = None  # the next sidecar asks anew
            except DovecoteError as error:
                log.error("the broker has changed, and topics keep their names: %s", error)  # noqa: TRY400 - the cause is no bug

    async def repeat_values(self) -> None:
        """Tell the recorder what it may have missed, with each heartbeat."""
        while True:
            await asyncio.sleep(self._settings.heartbeat)
            try:
                await self._bus.repeat_values()
            except DovecoteError as error:
                log.warning("last values could not be told again: %s", error)

    async def check_store(self) -> None:
        """Learn where state is kept, and tell what is to be known of that.

        Raises ConfigurationError if that is not what the app's mode says: then the server ends (dovecote.serve).
        """
        kind = (await self._sidecar.component_types()).get(STATESTORE, "")
        try:
            require_agreed(self._settings.state_mode, kind)
        except ConfigurationError as error:
            self._api.state.fault = error
            raise
        notes = notes_on(kind)
        if notes != self._notes:
            log.warning("%s", "; ".join(notes) or f"state is kept in a {kind} now")
            self._notes = notes

    async def start_worker(self) -> None:
        """Connect the workflow worker as soon as the sidecar takes calls."""
        while not self._worker_started:
            await self._sidecar.wait_until_healthy()
            try:
                await self.check_store()
                await self._workflows.start()
                self._worker_started = True
            except ConfigurationError:
                return  # the server ends, and says why
            except Exception:
                # The sidecar went away in between; the SDK raises what its thread raised.
                log.exception("the workflow worker did not start; trying again")

    async def missing(self) -> list[str]:
        """What is not there yet: sidecar, components, subscriptions, workflow worker."""
        try:
            metadata = await self._sidecar.metadata()
        except UnavailableError as error:
            return [str(error)]
        loaded = {component["name"] for component in metadata.get("components", [])}
        needed = [name for name in COMPONENTS if name != MODEL or self._app.kind == "agent"]
        missing = [f"component {name!r} is not loaded" for name in needed if name not in loaded]
        subscribed = {row["topic"] for row in metadata.get("subscriptions", [])}
        if not missing:
            broker = await self.capabilities()
            missing += [
                f"topic {wanted.lane.topic!r} is not subscribed"
                for wanted in self._app.subscriptions
                if broker.subscription(wanted.lane.topic, self._app.name) not in subscribed
            ]
        if not self._worker_started:
            missing.append("the workflow worker is not connected")
        return missing + await self._codec.missing()

    async def release(self) -> None:
        """Have the sidecar end, in order; one that has begun to by itself is no error."""
        try:
            await self._sidecar.shut_down()
        except UnavailableError as error:
            log.info("the sidecar ends by itself: %s", error)

    async def close(self) -> None:
        """Let go of everything."""
        await self._workflows.stop()
        await self._model.close()
        await self._crypto.close()
        await self._sidecar.close()


@contextlib.asynccontextmanager
async def connect(app: "App", api: FastAPI, settings: Settings) -> AsyncIterator[Ports]:
    """The ports of an app on its sidecar.

    Returns at once: the sidecar looks for the app's port first, and the app must listen by then.
    """
    connection = Connection(app, api, settings)
    works = (connection.start_worker, connection.follow_broker, connection.repeat_values)
    tasks = [asyncio.create_task(work()) for work in works]
    try:
        yield connection.ports
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await connection.close()
