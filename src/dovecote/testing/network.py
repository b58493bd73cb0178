"""A network: several apps together in one process, on the in-memory ports."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import httpx
from fastapi import FastAPI
from pydantic import BaseModel, JsonValue

from dovecote.agent import Agent
from dovecote.app import App
from dovecote.codec import codec_of
from dovecote.delivery import Deliveries
from dovecote.directory import DIRECTORY
from dovecote.errors import ConfigurationError, DeadlineError
from dovecote.orchestrator import PLAN, Orchestrator
from dovecote.ports import Model, Ports
from dovecote.results import TaskResult
from dovecote.settings import Settings, get_settings
from dovecote.testing.bus import MemoryBus
from dovecote.testing.clock import Clock
from dovecote.testing.crypto import MemoryCrypto, MemorySecrets
from dovecote.testing.invoke import MemoryInvoke, client
from dovecote.testing.model import ScriptedModel
from dovecote.testing.state import MemoryState
from dovecote.testing.workflows import MemoryWorkflows
from dovecote.tools import Tools

_START_LIMIT: Final = 10.0
Served = App | FastAPI | Agent | Tools | Orchestrator


@dataclass(frozen=True)
class _Kept:
    """What stays of an app while it is stopped, and what its replicas share."""

    state: MemoryState
    workflows: MemoryWorkflows


@dataclass
class _Host:
    """One replica of an app."""

    app: App
    kept: _Kept
    lifespan: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)


class Network:
    """Runs apps together in memory: `async with Network([...]) as net: result = await net.ask({...})`.

    `apps` are what services serve, or the objects behind; agents and tools need the app `directory` among them.
    Several of one app-id are its replicas, the second called `<app-id>-2`; they share state and workflows.
    `model` answers all agents, or is a model for each by app-id. `settings` are the environment's if not given;
    an app has those that are there when it starts.
    `secrets` are those of the secret store, and `keys` the keys that content is encrypted with, by their ids.
    """

    def __init__(
        self,
        apps: Sequence[Served],
        *,
        model: Model | Mapping[str, Model] | None = None,
        settings: Settings | None = None,
        secrets: Mapping[str, str] | None = None,
        keys: Mapping[str, bytes] | None = None,
    ) -> None:
        self.keys = dict(keys or {})
        self._secrets = MemorySecrets(secrets or {})
        self.clock = Clock()
        self.bus = MemoryBus()
        self.bus.claims = MemoryState(self.clock)
        self._models = model if isinstance(model, Mapping) else {}
        self._model: Model = ScriptedModel() if model is None or isinstance(model, Mapping) else model
        self.settings = settings
        self._running: dict[str, FastAPI] = {}
        self._reachable: dict[str, FastAPI] = {}
        self._hosts: dict[str, _Host] = {}
        self._kept: dict[str, _Kept] = {}
        for app in map(_app_of, apps):
            self._add(app)
        announced = [host.app.name for host in self._hosts.values() if host.app.kind != "service"]
        if announced and DIRECTORY not in self._hosts:
            raise ConfigurationError(
                f"{', '.join(announced)} cannot be found: the network has no app {DIRECTORY!r}",
                mend="add services.directory.main.app to the apps",
            )

    def _add(self, app: App) -> None:
        if any(host.app is app for host in self._hosts.values()):
            raise ConfigurationError(f"app {app.name!r} is given twice", mend="make an object for each replica")
        kept = self._kept.setdefault(app.name, _Kept(MemoryState(self.clock), MemoryWorkflows(self.clock)))
        number = sum(host.app.name == app.name for host in self._hosts.values()) + 1
        self._hosts[app.name if number == 1 else f"{app.name}-{number}"] = _Host(app, kept)

    async def __aenter__(self) -> Self:
        try:
            # The directory first, so that the others need not ask twice; it leaves last.
            for name in sorted(self._hosts, key=lambda name: name != DIRECTORY):
                await self.start(name)
        except BaseException:
            await self._stop_all()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop_all()

    async def start(self, name: str) -> None:
        """Start an app that was stopped; it goes on with what it had taken on. Returns when it is ready."""
        host = self._host(name)
        if name in self._running:
            raise ConfigurationError(f"app {name!r} is running already")
        api = host.app.build(self._connect, self.settings)
        await host.lifespan.enter_async_context(api.router.lifespan_context(api))
        self._running[name] = api
        self._reachable[api.title] = api
        if DIRECTORY in self._running:
            try:
                await asyncio.wait_for(host.app.running.registered.wait(), _START_LIMIT)
            except TimeoutError:
                raise DeadlineError(f"app {name!r} did not get into the directory") from None

    async def stop(self, name: str) -> None:
        """Stop an app. What comes for it meanwhile waits, what it was doing goes on at its start."""
        host = self._host(name)
        if name not in self._running:
            raise ConfigurationError(f"app {name!r} is not running")
        await host.lifespan.aclose()
        del self._running[name]
        self._reachable.clear()
        self._reachable.update((api.title, api) for api in self._running.values())

    async def ask(
        self,
        content: Mapping[str, Any] | BaseModel,
        *,
        metadata: Mapping[str, str] | None = None,
        orchestrator: str | None = None,
        limit: float = 30.0,
    ) -> TaskResult:
        """The result of a task given to the orchestrator; DeadlineError after `limit` real seconds.

        `orchestrator` names one where the network has several.
        """
        name = orchestrator or self._only_orchestrator()
        data = content.model_dump(mode="json") if isinstance(content, BaseModel) else dict(content)
        task: JsonValue = {"content": data, "metadata": dict(metadata or {})}
        started = TaskResult.model_validate(await self.invoke(name, "tasks", task))
        return await self.result(started.task_id, orchestrator=name, limit=limit)

    async def result(self, task_id: str, *, orchestrator: str | None = None, limit: float = 30.0) -> TaskResult:
        """The result of a task that was started; DeadlineError after `limit` real seconds."""
        name = orchestrator or self._only_orchestrator()
        try:
            await asyncio.wait_for(self.workflows(name).finished(task_id), limit)
        except TimeoutError:
            history = self.workflows(name).history(task_id)
            last = history.actions[-1].name if history.actions else "nothing"
            raise DeadlineError(f"task {task_id!r} took over {limit:g} s; it asked last for {last!r}") from None
        return TaskResult.model_validate(await self.invoke(name, f"tasks/{task_id}", verb="GET"))

    @property
    def invoke(self) -> MemoryInvoke:
        """Calls a method of a running app by app-id, as apps call each other."""
        settings = self.settings or get_settings()
        return MemoryInvoke(self._reachable, settings.app_api_token.get_secret_value())

    def http(self, name: str) -> httpx.AsyncClient:
        """An HTTP client of a running app, as its users have; use it as a context manager."""
        self._host(name)
        if name not in self._running:
            raise ConfigurationError(f"app {name!r} is not running")
        return client(self._running[name])

    def state(self, name: str) -> MemoryState:
        """The state store of an app."""
        return self._host(name).kept.state

    def workflows(self, name: str) -> MemoryWorkflows:
        """The workflows of an app."""
        return self._host(name).kept.workflows

    async def advance(self, seconds: float) -> None:
        """Move the time of timers, limits and leases forward; apps that run renew their leases, as they would."""
        self.clock.advance(seconds)
        for name in list(self._running):
            running = self._hosts[name].app.running
            if DIRECTORY in self._running:
                await running.registrar.register(running.registration)

    @contextlib.asynccontextmanager
    async def _connect(self, app: App, _: FastAPI, settings: Settings) -> AsyncIterator[Ports]:
        kept = self._kept[app.name]
        first = not self._others(app)
        _register(app, kept.workflows)
        codec = codec_of(
            app.name, settings, claims=self.bus.claims, crypto=MemoryCrypto(self.keys), secrets=self._secrets
        )
        if missing := await codec.missing():
            raise ConfigurationError(f"app {app.name!r}: {'; '.join(missing)}")
        bus = self.bus.through(codec)
        deliveries = Deliveries(app.name, bus, settings.concurrency, app.metrics, codec)
        membership = self.bus.join(app.name, app.subscriptions, deliveries)
        resuming = asyncio.create_task(kept.workflows.restart() if first else asyncio.sleep(0))
        try:
            yield Ports(
                bus=bus,
                invoke=self.invoke,
                state=kept.state,
                model=self._models.get(app.name, self._model),
                workflows=kept.workflows,
                missing=_nothing,
                drain=_at_once,
                release=_no_sidecar,
                listen=partial(self.bus.listen, app.name, deliveries),
                reopen=codec.reopen,
            )
        finally:
            await resuming
            await membership.leave()
            if others := self._others(app):
                _register(others[0], kept.workflows)
            else:
                await kept.workflows.close()

    def _others(self, app: App) -> list[App]:
        """The other replicas of an app that run."""
        hosts = [self._hosts[name] for name in self._running]
        return [host.app for host in hosts if host.app.name == app.name and host.app is not app]

    async def _stop_all(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for name in self._running:
                stack.push_async_callback(self.stop, name)

    def _host(self, name: str) -> _Host:
        if name not in self._hosts:
            raise ConfigurationError(f"the network has no app {name!r}; it has: {', '.join(self._hosts)}")
        return self._hosts[name]

    def _only_orchestrator(self) -> str:
        names = list(dict.fromkeys(host.app.name for host in self._hosts.values() if PLAN in host.app.workflows))
        if len(names) != 1:
            raise ConfigurationError(
                f"the network has {len(names)} orchestrators: {', '.join(names) or 'none'}",
                mend="name the one to ask",
            )
        return names[0]


def _register(app: App, workflows: MemoryWorkflows) -> None:
    for name, workflow in app.workflows.items():
        workflows.register(name, workflow)
    for name, activity in app.activities.items():
        workflows.register_activity(name, activity)


async def _nothing() -> list[str]:
    return []


async def _at_once(_: float) -> None:
    """Activities go on over a stop: the network keeps the workflows."""


def _app_of(served: Served) -> App:
    if isinstance(served, App):
        return served
    api = served if isinstance(served, FastAPI) else served.app
    app = getattr(api.state, "dovecote", None)
    if not isinstance(app, App):
        raise ConfigurationError(
            f"{api.title!r} is not an app of Dovecote", mend="give what App, Agent, Tools or Orchestrator made"
        )
    return app


async def _no_sidecar() -> None:
    """There is nothing to end."""
