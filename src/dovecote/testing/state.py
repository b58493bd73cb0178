"""The state store in memory."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic_core import from_json, to_json

from dovecote.errors import ConflictError
from dovecote.ports import Item, Write, check_conditions
from dovecote.testing.clock import Clock


@dataclass(frozen=True)
class _Row:
    text: bytes
    etag: str
    until: datetime | None


class MemoryState:
    """Values of one app by key, kept as JSON text: a caller never shares an object with the store."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._rows: dict[str, _Row] = {}
        self._etags = itertools.count(1)

    async def get(self, key: str) -> Item | None:
        """The value, or None."""
        row = self._live(key)
        return None if row is None else Item(from_json(row.text), row.etag)

    async def get_many(self, keys: Sequence[str]) -> dict[str, Item]:
        """Those of the keys that exist."""
        found = {key: await self.get(key) for key in keys}
        return {key: item for key, item in found.items() if item is not None}

    async def write(self, *writes: Write) -> None:
        """Write all or nothing; ConflictError if an ETag or `create` does not hold."""
        check_conditions(writes)
        rows = {write.key: self._row(write) for write in writes}
        for write in writes:
            there = self._live(write.key)
            if (write.create and there is not None) or (
                write.etag is not None and (there is None or there.etag != write.etag)
            ):
                raise ConflictError(f"somebody else wrote one of {[write.key for write in writes]} first")
        self._rows.update(rows)

    async def delete(self, key: str) -> None:
        """Remove a key; a missing one is no error."""
        self._rows.pop(key, None)

    def values(self) -> dict[str, Any]:
        """All there is now, by key: for a test to look at."""
        rows = {key: self._live(key) for key in list(self._rows)}
        return {key: from_json(row.text) for key, row in rows.items() if row is not None}

    def _row(self, write: Write) -> _Row:
        until = None if not write.ttl else self._clock.now() + timedelta(seconds=write.ttl)
        return _Row(to_json(write.value), str(next(self._etags)), until)

    def _live(self, key: str) -> _Row | None:
        row = self._rows.get(key)
        if row is not None and row.until is not None and row.until <= self._clock.now():
            del self._rows[key]
            return None
        return row
