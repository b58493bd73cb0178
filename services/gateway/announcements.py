"""External tools are made known: each is in the directory, and its answers are heard."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from functools import partial

from dovecote import App, topics
from dovecote.directory import LEASE, Registration
from dovecote.errors import DovecoteError
from dovecote.messages import new_id
from dovecote.ports import Subscription
from services.gateway.calls import Calls
from services.gateway.registrations import Registrations, ToolRegistration

log = logging.getLogger(__name__)

_AGAIN = 0.2  # seconds until it is tried again when something does not answer


class Announcements:
    """Keeps the directory and the subscriptions in step with the registrations, whichever replica changed them."""

    def __init__(self, app: App, registrations: Registrations, calls: Calls) -> None:
        self._app = app
        self._registrations = registrations
        self._calls = calls
        self._replica = new_id()
        self._changed = asyncio.Event()
        self._heard: set[str] = set()
        self._confirmed: set[str] = set()
        self._announced: dict[str, Registration] = {}

    def changed(self, name: str) -> None:
        """A tool has registered or unregistered here: tell of it at once."""
        self._confirmed.discard(name)
        self._changed.set()

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Announce while the block runs."""
        self._changed, self._heard, self._announced = asyncio.Event(), set(), {}
        async with contextlib.AsyncExitStack() as listening:
            keeping = asyncio.create_task(self._keep(listening))
            try:
                yield
            finally:
                keeping.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await keeping
                for row in self._announced.values():
                    with contextlib.suppress(DovecoteError):
                        await self._app.running.directory.leave(row)

    async def _keep(self, listening: contextlib.AsyncExitStack) -> None:
        while True:
            self._changed.clear()
            pause = self._app.running.settings.heartbeat
            for error in await self._bring_in_step(listening):
                known = isinstance(error, DovecoteError)
                log.log(
                    logging.INFO if known else logging.ERROR,
                    "external tools: %s",
                    error,
                    exc_info=None if known else error,
                )
                pause = min(pause, _AGAIN)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    async def _bring_in_step(self, listening: contextlib.AsyncExitStack) -> list[Exception]:
        """What went wrong; a tool that fails does not keep others from being announced."""
        try:
            tools = await self._registrations.all()
        except Exception as error:  # noqa: BLE001 - told by the caller, as those below
            return [error]
        leaving = [self._withdraw(name) for name in self._announced.keys() - tools.keys()]
        staying = [self._announce(tool, listening) for tool in tools.values()]
        told = await asyncio.gather(*leaving, *staying, return_exceptions=True)
        return [error for error in told if isinstance(error, Exception)]

    async def _announce(self, tool: ToolRegistration, listening: contextlib.AsyncExitStack) -> None:
        running = self._app.running
        if tool.id not in self._heard:
            # Heard to the end, also after the tool has left: its last answers count.
            answers = Subscription(topics.tool_responses(tool.id), partial(self._calls.take, tool.id), raw=True)
            await listening.enter_async_context(running.ports.listen(answers))
            self._heard.add(tool.id)
        row = self._announced[tool.name] = Registration(
            app_id=self._app.name,
            replica=f"{self._replica}.{tool.id}",
            kind="tool",
            description=tool.description,
            capabilities=[tool.name],
            tools=[tool.spec],
            lease=running.settings.heartbeat * LEASE,
        )
        await running.directory.register(row)
        if tool.name not in self._confirmed:
            await self._tell("TOOL_REGISTERED", tool.name, tool.id)
            self._confirmed.add(tool.name)

    async def _withdraw(self, name: str) -> None:
        row = self._announced[name]
        await self._app.running.directory.leave(row)
        await self._tell("TOOL_UNREGISTERED", name, row.replica.partition(".")[2])
        del self._announced[name]

    async def _tell(self, what: str, name: str, tool_id: str) -> None:
        news: dict[str, str] = {"type": what, "tool_name": name, "tool_id": tool_id}
        await self._app.running.ports.bus.publish_content(topics.AGENT_STATUS, {**news})
