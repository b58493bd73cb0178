"""The registry: leases of running replicas, and the roster that follows from them, in the state store."""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any, Final

from pydantic import JsonValue

from dovecote import App, Write
from dovecote.directory import Presence, Registration
from dovecote.errors import ConfigurationError, DovecoteError, is_retryable
from dovecote.messages import now
from dovecote.updates import update
from services.directory.roster import Announcement, Entry, Roster

log = logging.getLogger(__name__)

_ROSTER: Final = "roster"
_SWEEPS: Final = 5  # for each heartbeat
_ABANDONED: Final = timedelta(seconds=10)  # what is untold for so long is told by any replica of the directory


class Registry:
    """Who runs now, and whether each app is online. A lease is a key that the store forgets after its time."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._writing = asyncio.Lock()
        self._news = asyncio.Event()
        self._mine: set[str] = set()

    async def register(self, registration: Registration) -> None:
        """Write or renew a lease."""
        key = _key(registration.app_id, registration.replica)
        ttl = math.ceil(registration.lease)
        await self._app.running.ports.state.write(Write(key, registration.model_dump(mode="json"), ttl=ttl))
        # Looked at each time: another replica of the directory may have seen the lease lapsed.
        await self._change(lambda roster: roster.join(registration, now()))

    async def leave(self, registration: Registration) -> None:
        """End a lease."""
        await self.remove(registration.app_id, registration.replica)

    async def remove(self, app_id: str, replica: str) -> None:
        """End the lease of a replica."""
        await self._app.running.ports.state.delete(_key(app_id, replica))
        await self._change(lambda roster: roster.leave(app_id, replica, now()))

    async def running(self) -> list[Registration]:
        """All whose lease holds, by app-id."""
        return await self._holding((await self._roster()).leases())

    async def presence(self) -> list[Presence]:
        """Every app that ever announced itself, by app-id."""
        roster = await self._roster()
        rows = {app_id: _presence(entry) for app_id, entry in sorted(roster.apps.items())}
        for registration in await self._holding(roster.leases()):
            rows[registration.app_id].replicas.append(registration)
        return [*rows.values()]

    async def presence_of(self, app_id: str) -> Presence | None:
        """One app's; None if it never announced itself."""
        entry = (await self._roster()).apps.get(app_id)
        if entry is None:
            return None
        found = _presence(entry)
        found.replicas = await self._holding([(app_id, replica) for replica in entry.replicas])
        return found

    async def _holding(self, held: Sequence[tuple[str, str]]) -> list[Registration]:
        leases = await self._app.running.ports.state.get_many([_key(*one) for one in held])
        rows = [Registration.model_validate(lease.value) for lease in leases.values()]
        return sorted(rows, key=lambda row: (row.app_id, row.replica))

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Notice leases that lapse, and tell every change, while the block runs."""
        # Of the loop that the app runs on now.
        self._writing, self._news = asyncio.Lock(), asyncio.Event()
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            with contextlib.suppress(DovecoteError):
                await self._tell(await self._roster())

    async def _watch(self) -> None:
        """Who lives has the time of one lease to renew after a start, and after a failure of the store."""
        settings = self._app.running.settings
        clock = asyncio.get_running_loop().time
        begin = clock() + settings.lease
        while True:
            self._news.clear()
            try:
                roster = await (self.sweep() if clock() >= begin else self._roster())
            except DovecoteError as error:
                log.warning("who is online could not be looked at: %s", error)
                begin = clock() + settings.lease
            except Exception:
                log.exception("who is online could not be looked at")
            else:
                await self._try_to_tell(roster)
            # Not wait_for, which in Python 3.11 may take a cancellation for the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settings.heartbeat / _SWEEPS):
                    await self._news.wait()

    async def sweep(self) -> Roster:
        """Take the replicas whose leases have lapsed from the roster; returns it as it is then."""
        roster = await self._roster()
        held = roster.leases()
        leases = await self._app.running.ports.state.get_many([_key(*one) for one in held])
        lapsed = [one for one in held if _key(*one) not in leases]
        if not lapsed:
            return roster

        def take(roster: Roster) -> None:
            for app_id, replica in lapsed:
                roster.lapse(app_id, replica, now())

        return await self._change(take)

    async def _try_to_tell(self, roster: Roster) -> None:
        try:
            await self._tell(roster)
        except DovecoteError as error:
            log.warning("who is online could not be told: %s", error)
        except Exception:
            log.exception("who is online could not be told")

    async def _tell(self, roster: Roster) -> None:
        """Publish what is untold: what was written here, and what another replica of the directory left behind."""
        told: set[str] = set()
        try:
            for one in roster.untold:
                if one.message.id in self._mine or now() - one.message.timestamp > _ABANDONED:
                    await self._publish(one)
                    told.add(one.message.id)
        finally:
            # Also where a later one failed: what is told is not told again.
            if told:
                await self._forget(told)

    async def _publish(self, one: Announcement) -> None:
        try:
            await self._app.running.ports.bus.publish(one.topic, one.message)
        except DovecoteError as error:
            # Those after it wait for one that may get through later, so that all come in order.
            if is_retryable(error) and not isinstance(
                error, ConfigurationError
            ):  # which a message meets every time
                raise
            log.error("%r is not told on %r: %s", one.message.content, one.topic, error)  # noqa: TRY400 - the cause is no bug

    async def _forget(self, told: set[str]) -> None:
        def drop(roster: Roster) -> None:
            roster.untold = [one for one in roster.untold if one.message.id not in told]

        await self._change(drop)
        self._mine -= told

    async def _roster(self) -> Roster:
        item = await self._app.running.ports.state.get(_ROSTER)
        return _read(item.value if item else None)

    async def _change(self, change: Callable[[Roster], None]) -> Roster:
        new: set[str] = set()

        def changed(value: Any) -> JsonValue:
            nonlocal new
            before = _read(value)
            after = before.model_copy(deep=True)
            change(after)
            new = after.untold_ids - before.untold_ids
            return None if after == before else after.model_dump(mode="json")

        async with self._writing:
            roster = _read(await update(self._app.running.ports.state, _ROSTER, changed))
        if new:
            self._mine |= new
            self._news.set()
        return roster


def _read(value: Any) -> Roster:
    return Roster() if value is None else Roster.model_validate(value)


def _presence(entry: Entry) -> Presence:
    return Presence(app_id=entry.app_id, kind=entry.kind, state=entry.state, since=entry.since)


def _key(app_id: str, replica: str) -> str:
    return f"lease:{app_id}:{replica}"
