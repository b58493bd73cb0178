"""The registry: leases of running replicas, in the state store."""

import math

from dovecote import App, Write
from dovecote.directory import Registration
from dovecote.errors import ConflictError

_MEMBERS = "members"


class Registry:
    """Who runs now. A lease is a key that the store forgets after its time; `members` lists the keys."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def register(self, registration: Registration) -> None:
        """Write or renew a lease."""
        key = _key(registration.app_id, registration.replica)
        ttl = math.ceil(registration.lease)
        await self._app.running.ports.state.write(Write(key, registration.model_dump(mode="json"), ttl=ttl))
        # Looked at each time: another replica of the directory may have seen the lease lapsed.
        await self._change({key}, set())

    async def leave(self, app_id: str, replica: str) -> None:
        """End a lease."""
        key = _key(app_id, replica)
        await self._app.running.ports.state.delete(key)
        await self._change(set(), {key})

    async def running(self) -> list[Registration]:
        """All whose lease holds, by app-id; lapsed ones leave the list of members."""
        members = await self._app.running.ports.state.get(_MEMBERS)
        keys = list(members.value) if members else []
        leases = await self._app.running.ports.state.get_many(keys)
        lapsed = {key for key in keys if key not in leases}
        if lapsed:
            await self._change(set(), lapsed)
        rows = [Registration.model_validate(lease.value) for lease in leases.values()]
        return sorted(rows, key=lambda row: (row.app_id, row.replica))

    async def _change(self, add: set[str], remove: set[str]) -> None:
        while True:
            item = await self._app.running.ports.state.get(_MEMBERS)
            before = set(item.value) if item else set()
            after = (before | add) - remove
            if after == before:
                return
            try:
                await self._app.running.ports.state.write(
                    Write(_MEMBERS, sorted(after), etag=item.etag if item else None, create=item is None)
                )
            except ConflictError:
                continue  # another replica changed it: look again
            return


def _key(app_id: str, replica: str) -> str:
    return f"lease:{app_id}:{replica}"
