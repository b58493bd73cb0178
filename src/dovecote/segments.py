"""Segments: what a durable queue keeps in the state store, and how several change one of them at a time.

A store takes a condition on one key only. So what must change together is in one segment, and a segment is small.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from pydantic import BaseModel

from dovecote.errors import ConflictError
from dovecote.messages import MessageType, Priority
from dovecote.ports import State, Write
from dovecote.updates import Contest

T = TypeVar("T")
SIZE: Final = 100
_IDLE: Final = 10.0  # seconds that an empty segment is kept for what may come next
_SPENT: Final = 24 * 3600  # seconds that a sealed one stays, so that a slow writer finds it sealed and not gone


class Counts(BaseModel):
    """What became of messages so far; `received` and `requeued` count each time."""

    added: int = 0
    received: int = 0
    requeued: int = 0
    acknowledged: int = 0
    dead: int = 0
    expired: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """Both together."""
        mine, others = dict(self), dict(other)
        return Counts(**{name: mine[name] + others[name] for name in mine})


class Entry(BaseModel):
    """A message's place in a queue. Times are seconds since the epoch; it is leased to `holder` before `until`."""

    id: str
    key: str
    at: float
    expires: float | None = None
    until: float = 0.0
    holder: str = ""
    receives: int = 0

    def over(self, time: float) -> bool:
        """Whether its time is over."""
        return self.expires is not None and self.expires <= time


@dataclass(frozen=True)
class Lease:
    """For whom, from when, and for how many seconds entries are leased."""

    holder: str
    time: float
    seconds: float


class Segment(BaseModel):
    """Up to SIZE entries of one lane, in the order of their coming. Once it is full or sealed none is added."""

    entries: list[Entry] = []
    counts: Counts = Counts()
    last: float = 0.0
    sealed: bool = False

    def append(self, entry: Entry) -> bool | None:
        """Add an entry: False if it is there already, None if there is no room."""
        if any(one.key == entry.key for one in self.entries):
            return False
        if self.sealed or self.counts.added >= SIZE:
            return None
        self.entries.append(entry)
        self.counts.added += 1
        self.last = max(self.last, entry.at)
        return True

    def lease(self, limit: int, lease: "Lease", *, expired: bool = False) -> list[Entry]:
        """Lease the first entries that nobody holds; of `expired` only those whose time is over."""
        free = [entry for entry in self.entries if entry.until <= lease.time]
        taken = [entry for entry in free if not expired or entry.over(lease.time)][:limit]
        for entry in taken:
            entry.holder, entry.until = lease.holder, lease.time + lease.seconds
            entry.receives += 1
        self.counts.received += len(taken)
        return taken

    def held(self, key: str, holder: str) -> Entry | None:
        """The entry of a key if that holder was the last to lease it."""
        return next((entry for entry in self.entries if (entry.key, entry.holder) == (key, holder)), None)

    def spent(self, time: float) -> bool:
        """Whether it is of no more use."""
        return self.sealed or (not self.entries and (self.counts.added >= SIZE or self.last + _IDLE < time))

    def seal(self, time: float) -> Counts | None:
        """Take no more entries, if it is spent; returns what it counted."""
        self.sealed = self.spent(time)
        return self.counts if self.sealed else None


class Index(BaseModel):
    """Which segments each lane has, oldest first, and the counts of those that are gone."""

    lanes: dict[str, list[str]] = {}
    counts: Counts = Counts()

    def names(self) -> list[str]:
        """All segments."""
        return [name for names in self.lanes.values() for name in names]

    def by_priority(self, types: frozenset[MessageType]) -> list[list[list[str]]]:
        """The segments of each lane of those types: a list of lanes for each priority, the most urgent first."""
        return [
            [names for kind in MessageType if kind in types and (names := self.lanes.get(lane(priority, kind)))]
            for priority in Priority
        ]


def lane(priority: Priority, kind: MessageType) -> str:
    """The lane of messages of one priority and type."""
    return f"{int(priority)}.{kind.value}"


class Segments:
    """Segments by name. Changes of one that come while a write of it is under way share the next write."""

    def __init__(self, state: State, prefix: str) -> None:
        self._state = state
        self._prefix = prefix
        self._waiting: defaultdict[str, list[tuple[Callable[[Segment], object], asyncio.Future[Any]]]] = (
            defaultdict(list)
        )
        self._locks: dict[str, asyncio.Lock] = {}

    async def read(self, names: list[str]) -> dict[str, Segment]:
        """Those of the segments that exist."""
        items = await self._state.get_many([self._key(name) for name in names])
        return {
            name: Segment.model_validate(items[self._key(name)].value) for name in names if self._key(name) in items
        }

    async def create(self, name: str, *, sealed: bool = False) -> None:
        """See that there is one of that name, whatever is in it."""
        value, ttl = Segment(sealed=sealed).model_dump(mode="json"), _SPENT if sealed else None
        try:
            await self._state.write(Write(self._key(name), value, create=True, ttl=ttl))
        except ConflictError:
            return

    async def change(self, name: str, work: Callable[[Segment], T]) -> T | None:
        """What `work` returns, when its change of the segment is kept; None if there is no such segment.

        `work` may be asked again with what others made of it meanwhile.
        """
        waiting: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        change = (work, waiting)
        self._waiting[name].append(change)
        lock = self._locks.setdefault(name, asyncio.Lock())
        try:
            async with lock:
                if not waiting.done():
                    await self._write(name)
        except asyncio.CancelledError:
            waiting.cancel()
            if change in self._waiting[name]:
                self._waiting[name].remove(change)
            raise
        finally:
            if not self._waiting[name]:
                del self._waiting[name]
                self._locks.pop(name, None)
        return cast("T | None", await waiting)

    async def _write(self, name: str) -> None:
        batch = self._waiting.pop(name)
        try:
            results = await self._applied(name, [work for work, _ in batch])
        except asyncio.CancelledError:
            # Those who still wait are served by the next of them.
            self._waiting[name] = batch + self._waiting[name]
            raise
        except Exception as error:  # noqa: BLE001 - each of those who wait gets it
            for _, waiting in batch:
                if not waiting.done():
                    waiting.set_exception(error)
        else:
            for (_, waiting), result in zip(batch, results, strict=True):
                if not waiting.done():
                    waiting.set_result(result)

    async def _applied(self, name: str, works: list[Callable[[Segment], object]]) -> list[object]:
        contest = Contest(f"segment {self._key(name)!r}")
        while True:
            item = await self._state.get(self._key(name))
            if item is None:
                return [None] * len(works)
            before = Segment.model_validate(item.value)
            after = before.model_copy(deep=True)
            results = [work(after) for work in works]
            if after == before:
                return results
            ttl = _SPENT if after.sealed else None
            try:
                await self._state.write(
                    Write(self._key(name), after.model_dump(mode="json"), etag=item.etag, ttl=ttl)
                )
            except ConflictError as error:
                await contest.lost(error)
            else:
                return results

    def _key(self, name: str) -> str:
        return f"{self._prefix}:{name}"
