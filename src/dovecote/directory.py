"""The directory, as its clients see it: who is running, and who can do what.

An app announces itself with a lease and renews it while it lives; a lease lapses after three missed
heartbeats. The service behind it is the app `directory`.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final, Literal

from pydantic import BaseModel

from dovecote.errors import AgentUnavailableError, DovecoteError
from dovecote.ports import Invoke, ToolSpec

log = logging.getLogger(__name__)

DIRECTORY: Final = "directory"
MISSED_HEARTBEATS: Final = 3


class Registration(BaseModel):
    """One replica of an agent or a tool: what it is called, what it can do, and until when that holds.

    `lease` is in seconds.
    """

    app_id: str
    replica: str
    kind: Literal["agent", "tool"]
    description: str = ""
    capabilities: list[str]
    tools: list[ToolSpec] = []
    lease: float


class Directory:
    """A client of the directory."""

    def __init__(self, invoke: Invoke) -> None:
        self._invoke = invoke
        self._rows: list[Registration] = []
        self._heard = float("-inf")

    async def register(self, registration: Registration) -> None:
        """Announce a replica, or renew its lease."""
        await self._invoke(DIRECTORY, "registrations", registration.model_dump(mode="json"))

    async def leave(self, registration: Registration) -> None:
        """Give up a replica's lease, at a clean stop."""
        path = f"registrations/{registration.app_id}/{registration.replica}"
        await self._invoke(DIRECTORY, path, verb="DELETE", timeout=2)

    async def running(self, *, age: float = 0.0) -> list[Registration]:
        """All that run now, one registration per replica; what was heard up to `age` seconds ago counts as now."""
        clock = time.monotonic()
        if clock - self._heard > age:
            rows = await self._invoke(DIRECTORY, "registrations", verb="GET", timeout=10)
            self._rows = [Registration.model_validate(row) for row in rows] if isinstance(rows, list) else []
            self._heard = clock
        return self._rows

    async def find(
        self, wanted: Sequence[str], kind: Literal["agent", "tool"], *, age: float = 0.0
    ) -> list[Registration]:
        """One for each name or capability; AgentUnavailableError says which is missing, and names who runs."""
        running = [row for row in await self.running(age=age) if row.kind == kind]
        found = []
        for name in wanted:
            fitting = [row for row in running if row.app_id == name] or [
                row for row in running if name in row.capabilities
            ]
            if not fitting:
                names = ", ".join(sorted({f"{row.app_id} ({', '.join(row.capabilities)})" for row in running}))
                raise AgentUnavailableError(
                    f"no running {kind} is called {name!r} or has that capability",
                    mend=f"start it; running now: {names or 'none'}",
                )
            found.append(fitting[0])
        return found


async def keep_lease(
    directory: Directory, registration: Registration, heartbeat: float, registered: asyncio.Event
) -> None:
    """Announce a replica now and at every heartbeat (seconds), until cancelled; set `registered` at the first."""
    while True:
        try:
            await directory.register(registration)
            registered.set()
            pause = heartbeat
        except DovecoteError as error:
            log.log(
                logging.WARNING if registered.is_set() else logging.DEBUG,
                "directory does not answer: %s",
                error,
            )
            pause = min(heartbeat, 0.2)
        await asyncio.sleep(pause)
