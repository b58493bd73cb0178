"""An app: what one microservice is made of, and its FastAPI form."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from http import HTTPStatus
from typing import TypeVar

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import SecretStr
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from dovecote import resubmission
from dovecote.bus import Bus
from dovecote.conversation import Conversations
from dovecote.dapr import connect
from dovecote.directory import Directory, Kind, Registrar, Registration, keep_lease
from dovecote.errors import ConfigurationError, DovecoteError, InvalidInputError, NotFoundError
from dovecote.feed import Feed
from dovecote.guard import Guard
from dovecote.inbox import Inbox
from dovecote.logtopics import LogPublisher
from dovecote.mailbox import Mailbox
from dovecote.matching import condition_of
from dovecote.messages import Message, MessageType, new_id
from dovecote.metrics import MeasuredBus, Metrics
from dovecote.modes import in_its_mode
from dovecote.ports import Activity, Handler, Ports, Subscription, ToolSpec, WorkflowFunction
from dovecote.problems import MEDIA_TYPE, faults, to_problem
from dovecote.requests import Requests
from dovecote.settings import Settings, get_settings
from dovecote.tap import Tap, TappedBus
from dovecote.traces import Traced
from dovecote.traffic import HEALTH, Counted, Traffic
from dovecote.values import Values

log = logging.getLogger(__name__)

H = TypeVar("H", bound=Handler)
Lifespan = Callable[[], contextlib.AbstractAsyncContextManager[None]]
Connect = Callable[["App", FastAPI, Settings], contextlib.AbstractAsyncContextManager[Ports]]


def checked_name(name: str, what: str = "app name") -> str:
    """A name that may be an app-id; ConfigurationError if it is none."""
    if not name.replace("-", "").isalnum() or not name.islower():
        raise ConfigurationError(f"{what} {name!r} is not an app-id", mend="use lower-case letters, digits and -")
    return name


class App:
    """One microservice: its name is its app-id.

    Collects subscriptions, workflows, activities and HTTP routes; `asgi` is the app to serve. It announces
    itself to the directory with its capabilities; an agent or a tool (`kind`) is not ready before that.
    With `requests` it may ask other apps, and give them commands: it takes the answers.
    """

    def __init__(
        self,
        name: str,
        *,
        kind: Kind = "service",
        capabilities: Sequence[str] = (),
        description: str = "",
        requests: bool = False,
    ) -> None:
        self.name = checked_name(name)
        self.kind = kind
        self.capabilities = [*capabilities]
        self.description = description
        self.tools: list[ToolSpec] = []
        self.router = APIRouter()
        self.public = APIRouter()  # routes that are open also where the app demands a token of its sidecar
        self.bus = Bus(self)
        self.mailbox: Mailbox | None = None
        self.inbox = Inbox(self)
        self.requests = Requests(self)
        self.tap = Tap()
        self.metrics = Metrics()
        self.traffic = Traffic()
        self.subscriptions: list[Subscription] = []
        self.workflows: dict[str, WorkflowFunction] = {}
        self.activities: dict[str, Activity] = {}
        # Entered when the app starts, which they must not hold up, and left when it stops.
        self.lifespans: list[Lifespan] = []
        self.registrar: Registrar | None = None  # of the directory, which takes its own leases
        self._running: Running | None = None
        if requests:
            self.requests.open()

    def subscribe(  # noqa: PLR0913 - what may be said of a subscription
        self,
        topic: str,
        *,
        bulk: bool = False,
        default_type: MessageType = MessageType.EVENT,
        dead_letter: bool = True,
        raw: bool = False,
        match: str = "",
        priority: int = 0,
    ) -> Callable[[H], H]:
        """Make the decorated async function the handler of a topic; returns the function itself.

        With `match`, a CEL expression about `event` (dovecote.matching), it takes what that holds for.
        Several handlers of a topic are asked in the order of their `priority`; one without `match` takes the rest,
        and without such a one the rest is not for this app.
        """
        if match:
            condition_of(match)

        def add(handler: H) -> H:
            # At its last stop a message is not handled but kept: whatever its mode, and whatever has its key.
            taken = in_its_mode(topic, handler, lambda: self.running.ports.state) if dead_letter else handler
            seen = self.tap.handler(topic, taken)
            subscription = Subscription(
                topic, seen, bulk, default_type, dead_letter, raw, match=match, priority=priority
            )
            self.subscriptions += subscription.in_each_lane()
            return handler

        return add

    @property
    def running(self) -> "Running":
        """What exists while the app runs: ports, directory, last values, conversations, feed."""
        if self._running is None:
            raise ConfigurationError(f"app {self.name!r} is not running", mend="serve its `app`")
        return self._running

    @cached_property
    def asgi(self) -> FastAPI:
        """The app on its Dapr sidecar."""
        return self.build(connect)

    async def retire(self) -> None:
        """Say that the app takes no more work, and wait until none comes: before its port is closed.

        With a `stop_delay` nobody else ends the sidecar in order: the app goes on as before until its callers know,
        finishes what it has begun, and then has the sidecar end, while it still answers what that hands on.
        """
        running, settings = self.running, self.running.settings
        running.stopping = self.traffic.leaving = True
        if settings.stop_delay:
            await asyncio.sleep(settings.stop_delay)
            try:
                await running.finish()
            finally:
                await running.ports.release()
        await self.traffic.quiet(settings.stop_timeout)
        self.tap.end()

    def _listening(self) -> list[Subscription]:
        return [*self.subscriptions, *self.running.listening]

    async def _reopen(self, message: Message) -> Message:
        return await self.running.ports.reopen(message)

    def _token(self) -> SecretStr:
        return self.running.settings.app_api_token

    def _open(self, api: FastAPI) -> list[str]:
        """Paths that need no token: those about health, and what describes public routes."""
        described = [api.openapi_url, api.docs_url, api.redoc_url] if self.public.routes else []
        return [*HEALTH, *filter(None, described)]

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
        api.add_middleware(Traced)
        api.add_middleware(Counted, traffic=self.traffic)
        api.add_middleware(Guard, token=self._token, paths=self._open(api), routes=self.public.routes)
        api.include_router(_health(self))
        api.include_router(self.tap.router())
        api.include_router(self.metrics.router())
        api.include_router(resubmission.router(self.name, self._listening, self._reopen))
        api.include_router(self.router)
        api.include_router(self.public)
        api.add_exception_handler(DovecoteError, _problem)
        api.add_exception_handler(RequestValidationError, _problem)
        api.add_exception_handler(HTTPException, _problem)
        api.add_exception_handler(Exception, _problem)
        return api


class Running:
    """What an app has while it runs."""

    def __init__(self, app: App, ports: Ports, settings: Settings) -> None:
        self.listening: list[Subscription] = []  # beside those of the app, for now
        self.ports = ports = _observed(ports, app, self.listening)
        self.settings = settings
        self.directory = Directory(ports.invoke)
        self.registrar = app.registrar or self.directory
        self.values = Values(ports.invoke)
        self.conversations = Conversations(ports.state)
        self.feed = Feed(ports.bus)
        self.registered = asyncio.Event()
        self.stopping = False
        self._end = asyncio.Event()
        self._life: asyncio.Task[None] | None = None
        self.registration = Registration(
            app_id=app.name,
            replica=new_id(),
            kind=app.kind,
            description=app.description,
            capabilities=[app.name, *app.capabilities],
            tools=app.tools,
            lease=settings.lease,
        )

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Count as work under way while the block runs: the lease tells how much there is."""
        self.registration.load += 1
        try:
            yield
        finally:
            self.registration.load -= 1

    async def missing(self) -> list[str]:
        """What keeps the app from taking work."""
        missing = await self.ports.missing()
        if self.registration.kind != "service" and not self.registered.is_set():
            missing.append("not registered in the directory")
        if self.stopping:
            missing.append("stopping")
        return missing

    async def begin(self, lifespans: Sequence[Lifespan]) -> None:
        """Enter what lasts as long as the app, and announce it."""
        begun = asyncio.Event()
        # In a task of its own, since whoever ends it may be another than who began.
        self._life = asyncio.create_task(self._live(lifespans, begun))
        waiting = asyncio.create_task(begun.wait())
        await asyncio.wait([self._life, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._life.done():
            failed, self._life = self._life, None
            await failed

    async def finish(self) -> None:
        """Say that the app leaves, and finish what was begun; a second call does nothing."""
        if self._end.is_set():
            return
        self.stopping = True
        self._end.set()
        try:
            if self._life:
                await self._life
        finally:
            await self.ports.drain(self.settings.stop_timeout)
            await self.feed.flush()

    async def _live(self, lifespans: Sequence[Lifespan], begun: asyncio.Event) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for lifespan in lifespans:
                await stack.enter_async_context(lifespan())
            await stack.enter_async_context(_announced(self))
            begun.set()
            await self._end.wait()


def _observed(ports: Ports, app: App, listening: list[Subscription]) -> Ports:
    @contextlib.asynccontextmanager
    async def listen(subscription: Subscription) -> AsyncIterator[None]:
        taken = in_its_mode(subscription.topic, subscription.handler, lambda: ports.state)
        shown = replace(subscription, handler=app.tap.handler(subscription.topic, taken))
        async with ports.listen(shown):
            listening.append(shown)
            try:
                yield
            finally:
                listening.remove(shown)

    return replace(ports, bus=TappedBus(MeasuredBus(ports.bus, app.metrics), app.tap), listen=listen)


@contextlib.asynccontextmanager
async def _run(app: App, ports: Ports, settings: Settings) -> AsyncIterator[None]:
    running = app._running = Running(app, ports, settings)  # noqa: SLF001 - the app's own lifespan
    async with _logs_published(running):
        try:
            await running.begin(app.lifespans)
            yield
        finally:
            try:
                await running.finish()
            finally:
                await running.feed.close()
                app._running = None  # noqa: SLF001 - the app's own lifespan


def _logs_published(running: Running) -> contextlib.AbstractAsyncContextManager[None]:
    topic, settings = running.settings.pub_log_topic, running.settings
    if not topic:
        return contextlib.nullcontext()
    component = running.registration.app_id
    return LogPublisher(running.ports.bus, component, topic, rate=settings.pub_log_rate).publishing()


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
        body = {"ready": not missing, "missing": missing, "notes": app.running.ports.notes()}
        return JSONResponse(body, 503 if missing else 200)

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
