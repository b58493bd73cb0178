"""The directory, as its clients see it: who is running, and who can do what.

An app announces itself with a lease and renews it while it lives; a lease holds for one and a half heartbeats.
The service behind it is the app `directory`.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, Protocol

from pydantic import BaseModel

from dovecote.errors import AgentUnavailableError, DovecoteError, NotFoundError
from dovecote.ports import Invoke, ToolSpec

log = logging.getLogger(__name__)

DIRECTORY: Final = "directory"
_SHORTEST_CALL: Final = 1.0
_SOON: Final = 0.2

Kind = Literal["agent", "tool", "service"]
PresenceState = Literal["online", "offline - ungraceful disconnect", "offline - clean disconnect"]


class Registration(BaseModel):
    """One replica of an app: what it is called, what it can do, and until when that holds.

    `lease` is in seconds. A `service` is an app that neither agents nor plans look for. `load` is how much work was
    under way when the lease was renewed.
    """

    app_id: str
    replica: str
    kind: Kind
    description: str = ""
    capabilities: list[str]
    tools: list[ToolSpec] = []
    lease: float
    load: int = 0


class Presence(BaseModel):
    """Whether an app is there, since when that is so, and its replicas whose lease holds.

    It is online while the lease of any of its replicas holds. After that its disconnect was clean if the last
    replica left in order, and ungraceful if its lease lapsed.
    """

    app_id: str
    kind: Kind
    state: PresenceState
    since: datetime
    replicas: list[Registration] = []


class Registrar(Protocol):
    """Who takes an app's leases."""

    async def register(self, registration: Registration) -> None:
        """Announce a replica, or renew its lease."""

    async def leave(self, registration: Registration) -> None:
        """Give up a replica's lease, at a clean stop."""


class Directory:
    """A client of the directory."""

    def __init__(self, invoke: Invoke) -> None:
        self._invoke = invoke
        self._rows: list[Registration] = []
        self._heard = float("-inf")

    async def register(self, registration: Registration) -> None:
        """Announce a replica, or renew its lease."""
        # A call that hangs is given up in time for another one before the lease lapses.
        limit = max(_SHORTEST_CALL, registration.lease / 6)
        body = registration.model_dump(mode="json")
        await self._invoke(DIRECTORY, "registrations", body, timeout=limit)

    async def leave(self, registration: Registration) -> None:
        """Give up a replica's lease, at a clean stop."""
        path = f"registrations/{registration.app_id}/{registration.replica}"
        await self._invoke(DIRECTORY, path, verb="DELETE", timeout=1)

    async def running(self, *, age: float = 0.0) -> list[Registration]:
        """All that run now, one registration per replica; what was heard up to `age` seconds ago counts as now."""
        clock = time.monotonic()
        if clock - self._heard > age:
            rows = await self._invoke(DIRECTORY, "registrations", verb="GET", timeout=10)
            self._rows = [Registration.model_validate(row) for row in rows] if isinstance(rows, list) else []
            self._heard = clock
        return self._rows

    async def presence(self, app_id: str) -> Presence | None:
        """Whether an app is there; None if it never was."""
        try:
            row = await self._invoke(DIRECTORY, f"presence/{app_id}", verb="GET", timeout=10)
        except NotFoundError:
            return None
        return Presence.model_validate(row)

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
    registrar: Registrar, registration: Registration, heartbeat: float, registered: asyncio.Event
) -> None:
    """Announce a replica now and at every heartbeat (seconds), until cancelled; set `registered` at the first.

    While the directory does not answer it is asked again soon, and the less often the longer that lasts.
    """
    clock = time.monotonic
    heard = clock()
    while True:
        try:
            await registrar.register(registration)
            registered.set()
            heard = clock()
            pause = heartbeat
        except DovecoteError as error:
            level = logging.WARNING if registered.is_set() else logging.DEBUG
            log.log(level, "directory does not answer: %s", error)
            pause = min(heartbeat, max(_SOON, (clock() - heard) / 10))
        await asyncio.sleep(pause)
