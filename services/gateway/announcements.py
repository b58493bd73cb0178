"""External tools are made known: each is in the directory, and its answers are heard."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial

from dovecote import App, topics
from dovecote.directory import Registration, keep_lease
from dovecote.errors import ConfigurationError, DovecoteError, is_retryable
from dovecote.messages import new_id
from dovecote.ports import Subscription
from services.gateway.calls import Calls
from services.gateway.registrations import Registrations, ToolRegistration

log = logging.getLogger(__name__)

_AGAIN = 0.2  # seconds until it is tried again when something does not answer, at first
_LONGEST_PAUSE = 5.0


@dataclass(frozen=True)
class _Work:
    """What is being done for a tool: it is kept announced, or withdrawn."""

    tool: ToolRegistration
    announces: bool
    task: asyncio.Task[None]


@dataclass(frozen=True)
class _Stream:
    """What hears the answers of a tool."""

    opened: asyncio.Event
    task: asyncio.Task[None]


class Announcements:
    """Keeps the directory and the subscriptions in step with the registrations, whichever replica changed them.

    Each tool has tasks of its own, so that one of which something does not answer takes no time of another.
    """

    def __init__(self, app: App, registrations: Registrations, calls: Calls) -> None:
        self._app = app
        self._registrations = registrations
        self._calls = calls
        self._replica = new_id()
        self._changed = asyncio.Event()
        self._unconfirmed: set[str] = set()
        self._works: dict[str, _Work] = {}  # by the tool's name
        self._streams: dict[str, _Stream] = {}  # by its id

    def changed(self, name: str) -> None:
        """A tool has registered or unregistered here: tell of it at once."""
        self._unconfirmed.add(name)
        self._changed.set()

    async def hear(self, tool: ToolRegistration) -> None:
        """Return when the tool's answers are heard here, or when a call without one would be sent again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._app.running.settings.resend_after):
                await self._stream(tool.id).opened.wait()

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Announce while the block runs."""
        self._changed, self._works, self._streams = asyncio.Event(), {}, {}
        keeping = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            await _end([keeping])
            await _end(work.task for work in self._works.values())
            await asyncio.gather(*(self._leave(work.tool) for work in self._works.values()))
            await _end(stream.task for stream in self._streams.values())

    async def _keep(self) -> None:
        while True:
            self._changed.clear()
            await _persistently(self._bring_in_step)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._app.running.settings.heartbeat):
                    await self._changed.wait()

    async def _bring_in_step(self) -> None:
        tools = await self._registrations.all()
        unconfirmed, self._unconfirmed = self._unconfirmed, set()
        for name, tool in tools.items():
            work = self._works.get(name)
            if work is None or not work.announces or work.tool != tool or name in unconfirmed:
                await self._turn_to(tool, announces=True)
        gone = [work.tool for name, work in self._works.items() if name not in tools and work.announces]
        for tool in gone:
            await self._turn_to(tool, announces=False)

    async def _turn_to(self, tool: ToolRegistration, *, announces: bool) -> None:
        if before := self._works.get(tool.name):
            await _end([before.task])
        work = self._announce if announces else self._withdraw
        task = asyncio.create_task(_persistently(partial(work, tool)))
        self._works[tool.name] = _Work(tool, announces, task)

    async def _announce(self, tool: ToolRegistration) -> None:
        await self._stream(tool.id).opened.wait()
        running, registered = self._app.running, asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                keep_lease(running.directory, self._row(tool), running.settings.heartbeat, registered)
            )
            await registered.wait()
            await _persistently(partial(self._tell, "TOOL_REGISTERED", tool))

    async def _withdraw(self, tool: ToolRegistration) -> None:
        await self._app.running.directory.leave(self._row(tool))
        await self._tell("TOOL_UNREGISTERED", tool)
        del self._works[tool.name]

    async def _leave(self, tool: ToolRegistration) -> None:
        with contextlib.suppress(DovecoteError):
            await self._app.running.directory.leave(self._row(tool))

    def _stream(self, tool_id: str) -> _Stream:
        if tool_id not in self._streams:
            opened = asyncio.Event()
            task = asyncio.create_task(_persistently(partial(self._hear, tool_id, opened)))
            self._streams[tool_id] = _Stream(opened, task)
        return self._streams[tool_id]

    async def _hear(self, tool_id: str, opened: asyncio.Event) -> None:
        """Hear a tool to the end, also after it has left: its last answers count."""
        answers = Subscription(topics.tool_responses(tool_id), partial(self._calls.take, tool_id), raw=True)
        async with self._app.running.ports.listen(answers):
            opened.set()
            await asyncio.Event().wait()

    def _row(self, tool: ToolRegistration) -> Registration:
        return Registration(
            app_id=self._app.name,
            replica=f"{self._replica}.{tool.name}",
            kind="tool",
            description=tool.description,
            capabilities=[tool.name],
            tools=[tool.spec],
            lease=self._app.running.settings.lease,
        )

    async def _tell(self, what: str, tool: ToolRegistration) -> None:
        news: dict[str, str] = {"type": what, "tool_name": tool.name, "tool_id": tool.id}
        await self._app.running.ports.bus.publish_content(topics.AGENT_STATUS, {**news})


async def _persistently(work: Callable[[], Awaitable[None]]) -> None:
    """Do it, again and again until it succeeds or cannot; the pauses grow."""
    pause = _AGAIN
    while True:
        try:
            return await work()
        except DovecoteError as error:
            if isinstance(error, ConfigurationError) or not is_retryable(error):
                return log.error("external tools: %s", error)  # noqa: TRY400 - the cause is no bug
            log.info("external tools: %s, again in %g s", error, pause)
        except Exception:
            log.exception("external tools")
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks, and return when they have ended."""
    ending = [*tasks]
    for task in ending:
        task.cancel()
    if ending:
        # Awaiting them would raise their cancellation, and hide the one of who waits here.
        await asyncio.wait(ending)
