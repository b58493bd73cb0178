"""An app: what one microservice is made of, and its FastAPI form."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import cached_property
from http import HTTPStatus
from typing import TypeVar

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from dovecote.dapr import connect
from dovecote.directory import Directory, Kind, Registrar, Registration, keep_lease
from dovecote.errors import ConfigurationError, DovecoteError, InvalidInputError, NotFoundError
from dovecote.feed import Feed
from dovecote.messages import MessageType, new_id
from dovecote.ports import Activity, Handler, Ports, Subscription, ToolSpec, WorkflowFunction
from dovecote.problems import MEDIA_TYPE, faults, to_problem
from dovecote.settings import Settings, get_settings
from dovecote.tap import Tap, TappedBus
from dovecote.values import Values

log = logging.getLogger(__name__)

H = TypeVar("H", bound=Handler)
Connect = Callable[["App", FastAPI, Settings], contextlib.AbstractAsyncContextManager[Ports]]


class App:
    """One microservice: its name is its app-id.

    Collects subscriptions, workflows, activities and HTTP routes; `asgi` is the app to serve. It announces
    itself to the directory with its capabilities; an agent or a tool (`kind`) is not ready before that.
    """

    def __init__(
        self,
        name: str,
        *,
        kind: Kind = "service",
        capabilities: Sequence[str] = (),
        description: str = "",
    ) -> None:
        if not name.replace("-", "").isalnum() or not name.islower():
            raise ConfigurationError(
                f"app name {name!r} is not an app-id", mend="use lower-case letters, digits and -"
            )
        self.name = name
        self.kind = kind
        self.capabilities = [*capabilities]
        self.description = description
        self.tools: list[ToolSpec] = []
        self.router = APIRouter()
        self.tap = Tap()
        self.subscriptions: list[Subscription] = []
        self.workflows: dict[str, WorkflowFunction] = {}
        self.activities: dict[str, Activity] = {}
        # Entered when the app starts, which they must not hold up, and left when it stops.
        self.lifespans: list[Callable[[], contextlib.AbstractAsyncContextManager[None]]] = []
        self.registrar: Registrar | None = None  # of the directory, which takes its own leases
        self._running: Running | None = None

    def subscribe(
        self,
        topic: str,
        *,
        bulk: bool = False,
        default_type: MessageType = MessageType.EVENT,
        dead_letter: bool = True,
        raw: bool = False,
    ) -> Callable[[H], H]:
        """Make the decorated async function the handler of a topic; returns the function itself."""

        def add(handler: H) -> H:
            shown = self.tap.handler(topic, handler)
            subscription = Subscription(topic, shown, bulk, default_type, dead_letter, raw)
            self.subscriptions += subscription.in_each_lane()
            return handler

        return add

    @property
    def running(self) -> "Running":
        """What exists while the app runs: ports, directory, last values, feed."""
        if self._running is None:
            raise ConfigurationError(f"app {self.name!r} is not running", mend="serve its `app`")
        return self._running

    @cached_property
    def asgi(self) -> FastAPI:
        """The app on its Dapr sidecar."""
        return self.build(connect)

    async def retire(self) -> None:
        """Say that the app takes no more work, and wait until none comes: before its port is closed."""
        self.running.stopping = True
        await self.running.ports.quiet(self.running.settings.stop_timeout)
        self.tap.end()

    def build(self, connect: Connect, settings: Settings | None = None) -> FastAPI:
        """The app on any implementation of the ports; the settings are read when it starts."""

        @contextlib.asynccontextmanager
        async def lifespan(api: FastAPI) -> AsyncIterator[None]:
            used = settings or get_settings()
            async with connect(self, api, used) as ports, _run(self, ports, used):
                yield

        api = FastAPI(title=self.name, description=self.description, lifespan=lifespan)
        api.state.dovecote = self
        api.state.retire = self.retire
        api.include_router(_health(self))
        api.include_router(self.tap.router())
        api.include_router(self.router)
        api.add_exception_handler(DovecoteError, _problem)
        api.add_exception_handler(RequestValidationError, _problem)
        api.add_exception_handler(HTTPException, _problem)
        api.add_exception_handler(Exception, _problem)
        return api


class Running:
    """What an app has while it runs."""

    def __init__(self, app: App, ports: Ports, settings: Settings) -> None:
        self.ports = ports = _tapped(ports, app.tap)
        self.settings = settings
        self.directory = Directory(ports.invoke)
        self.registrar = app.registrar or self.directory
        self.values = Values(ports.invoke)
        self.feed = Feed(ports.bus)
        self.registered = asyncio.Event()
        self.stopping = False
        self.registration = Registration(
            app_id=app.name,
            replica=new_id(),
            kind=app.kind,
            description=app.description,
            capabilities=[app.name, *app.capabilities],
            tools=app.tools,
            lease=settings.lease,
        )

    async def missing(self) -> list[str]:
        """What keeps the app from taking work."""
        missing = await self.ports.missing()
        if self.registration.kind != "service" and not self.registered.is_set():
            missing.append("not registered in the directory")
        if self.stopping:
            missing.append("stopping")
        return missing


def _tapped(ports: Ports, tap: Tap) -> Ports:
    def listen(subscription: Subscription) -> contextlib.AbstractAsyncContextManager[None]:
        shown = tap.handler(subscription.topic, subscription.handler)
        return ports.listen(replace(subscription, handler=shown))

    return replace(ports, bus=TappedBus(ports.bus, tap), listen=listen)


@contextlib.asynccontextmanager
async def _run(app: App, ports: Ports, settings: Settings) -> AsyncIterator[None]:
    running = app._running = Running(app, ports, settings)  # noqa: SLF001 - the app's own lifespan
    try:
        async with contextlib.AsyncExitStack() as stack:
            for lifespan in app.lifespans:
                await stack.enter_async_context(lifespan())
            await stack.enter_async_context(_announced(running))
            try:
                yield
            finally:
                running.stopping = True
    finally:
        await ports.drain(settings.stop_timeout)
        await running.feed.close()
        app._running = None  # noqa: SLF001 - the app's own lifespan


@contextlib.asynccontextmanager
async def _announced(running: Running) -> AsyncIterator[None]:
    registrar, registration, heartbeat = running.registrar, running.registration, running.settings.heartbeat
    lease = asyncio.create_task(keep_lease(registrar, registration, heartbeat, running.registered))
    try:
        yield
    finally:
        lease.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await lease
        with contextlib.suppress(DovecoteError):
            await registrar.leave(registration)


def _health(app: App) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether the process is alive."""
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        """Whether sidecar, components, subscriptions and worker are really there."""
        missing = await app.running.missing()
        return JSONResponse({"ready": not missing, "missing": missing}, 503 if missing else 200)

    return router


async def _problem(request: Request, error: Exception) -> JSONResponse:
    """An error as application/problem+json (RFC 9457); never a stack trace."""
    if isinstance(error, RequestValidationError):
        error = InvalidInputError(faults(error.errors()))
    if isinstance(error, HTTPException):
        text = f"{request.method} {request.url.path}: {error.detail}"
        missing = error.status_code == HTTPStatus.NOT_FOUND
        _, body = to_problem(NotFoundError(text) if missing else InvalidInputError(text))
        body["status"] = error.status_code
        return JSONResponse(body, error.status_code, headers=error.headers, media_type=MEDIA_TYPE)
    status, body = to_problem(error)
    return JSONResponse(body, status, media_type=MEDIA_TYPE)
