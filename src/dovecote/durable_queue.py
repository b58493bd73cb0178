"""A durable queue in the state store, which all replicas of an app share.

A message has a row of its own; its place is an entry in a segment of its lane (priority and type), and an index
says which segments there are. Each is changed with a condition, in an order in which whoever is cut off leaves
nothing that is lost or doubled. What a call costs does not grow with what waits: it reads the index (some bytes for
each hundred messages), the first segment of each type, and those after it whose messages are all leased.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from math import inf
from typing import Any, Final, Literal

from pydantic import BaseModel, JsonValue

from dovecote.errors import ConflictError
from dovecote.messages import Message, MessageType, new_id
from dovecote.ports import Item, State, Write
from dovecote.segments import SIZE, Counts, Entry, Index, Lease, Segment, Segments, lane
from dovecote.singleflight import SingleFlight
from dovecote.updates import update

ALL: Final = frozenset(MessageType)
_REMEMBERED: Final = 24 * 3600  # seconds that a message that comes again is known after it was acknowledged
_DONE: Final[JsonValue] = {"done": True}


class QueueStats(Counts):
    """What waits in a queue now (`depth`; of it `leased` to a receiver), and what became of messages so far."""

    depth: int = 0
    leased: int = 0


@dataclass(frozen=True)
class Leased:
    """A message that is this receiver's until `entry.until`, and the topic it came from."""

    message: Message
    topic: str
    entry: Entry
    segment: str


class _Row(BaseModel):
    """What is kept of a message: itself, its topic, and the segment it is in, or that it is done."""

    message: Message | None = None
    topic: str = ""
    segment: str = ""
    done: bool = False


class DurableQueue:
    """Messages by priority, then in the order of their coming; each is leased to one receiver at a time.

    `name` is the queue's, `holder` the receiver's, which no other has. `clock` is that of leases.
    """

    def __init__(self, state: State, name: str, holder: str, clock: Callable[[], datetime]) -> None:
        self._state = state
        self._prefix = f"queue:{name}"
        self._holder = holder
        self._clock = clock
        self._segments = Segments(state, self._prefix)
        self._tails: dict[str, str] = {}
        self._opening = SingleFlight[str]()

    async def put(self, message: Message, topic: str, expires: datetime | None = None) -> bool:
        """Return when the message is kept; False if it was already, by its identity.

        Once acknowledged it is known for a day. One that was dead-lettered may come again.
        """
        own = lane(message.priority, message.type)
        entry = Entry(
            id=message.id, key=message.identity, at=self._time(), expires=expires.timestamp() if expires else None
        )
        full = ""
        while True:
            tail = self._tails.get(own)
            if tail is None or tail == full:
                tail = await self._open(own, full)
            placed = await self._place(message, topic, tail, full)
            if placed is None:
                return False
            added = await self._segments.change(placed, partial(Segment.append, entry=entry))
            if added is not None:
                return added
            full = placed

    async def known(self, message: Message) -> bool:
        """Whether a message is kept, or was acknowledged lately."""
        return await self._state.get(self._row(message.identity)) is not None

    async def lease(self, limit: int, types: frozenset[MessageType], seconds: float) -> list[Leased]:
        """Up to `limit` messages that nobody else gets for so many seconds."""
        found: list[Leased] = []
        for lanes in (await self._read_index()).by_priority(types):
            queues = [deque(names) for names in lanes]
            while queues and len(found) < limit:
                found += await self._lease_first(queues, limit - len(found), seconds)
        return found

    async def lease_expired(self, seconds: float) -> list[Leased]:
        """All messages that nobody holds and whose time is over; reads every segment."""
        found: list[Leased] = []
        for name in (await self._read_index()).names():
            found += await self._take(name, SIZE, seconds, expired=True)
        return found

    async def renew(self, leased: Leased, seconds: float) -> bool:
        """Hold a message for so many seconds from now; False if it is another's by now, or gone."""
        until = self._time() + seconds

        def hold(segment: Segment) -> bool:
            entry = segment.held(leased.entry.key, self._holder)
            if entry is not None:
                entry.until = until
            return entry is not None

        return bool(await self._segments.change(leased.segment, hold))

    async def release(self, leased: Leased, delay: float = 0.0) -> bool:
        """Give a message back, for anybody after `delay` seconds; False if it is another's by now, or gone."""
        until = self._time() + delay

        def give(segment: Segment) -> bool:
            entry = segment.held(leased.entry.key, self._holder)
            if entry is not None:
                entry.until, entry.holder = until, ""
                segment.counts.requeued += 1
            return entry is not None

        return bool(await self._segments.change(leased.segment, give))

    async def remove(self, leased: Leased, why: Literal["acknowledged", "dead", "expired"]) -> bool:
        """Take a message out for good; False if it is another's by now, or gone."""
        key = leased.entry.key
        held = (await self._segments.read([leased.segment])).get(leased.segment)
        if held is None or held.held(key, self._holder) is None:
            return False
        if why == "acknowledged":
            # First, so that one who is cut off after it leaves an entry that is known to be done.
            await update(self._state, self._row(key), lambda _: _DONE, ttl=_REMEMBERED)
        removed = await self._segments.change(leased.segment, partial(_drop, key=key, holder=self._holder, why=why))
        if why != "acknowledged" and removed:
            await self._state.delete(self._row(key))
        return bool(removed)

    async def stats(self) -> QueueStats:
        """What waits, and what became of messages so far; reads every segment."""
        index = await self._read_index()
        segments = (await self._segments.read(index.names())).values()
        time = self._time()
        counts = index.counts
        for segment in segments:
            counts = counts.plus(segment.counts)
        return QueueStats(
            **dict(counts),
            depth=sum(len(segment.entries) for segment in segments),
            leased=sum(entry.until > time for segment in segments for entry in segment.entries),
        )

    async def _lease_first(self, queues: list[deque[str]], limit: int, seconds: float) -> list[Leased]:
        """Lease from the first segments of lanes of one priority; those that are used up leave their queues."""
        time = self._time()
        segments = await self._segments.read([queue[0] for queue in queues])
        last = {name: segment.last for name, segment in segments.items()}
        # What came after all that was read of a longer lane waits, since the rest of that may have come before.
        horizon = min((last.get(queue[0], 0.0) for queue in queues if len(queue) > 1), default=inf)
        ready = sorted(
            (entry.at, name)
            for name, segment in segments.items()
            for entry in segment.entries
            if entry.until <= time and entry.at <= horizon
        )
        chosen = [name for _, name in ready[:limit]]
        taken = await asyncio.gather(
            *(self._take(name, chosen.count(name), seconds) for name in dict.fromkeys(chosen)),
            *(self._retire(name) for name, segment in segments.items() if segment.spent(time)),
            *(self._retire(queue[0]) for queue in queues if queue[0] not in segments),
        )
        for queue in queues:
            if last.get(queue[0], 0.0) <= horizon:
                queue.popleft()
        queues[:] = filter(None, queues)
        return sorted((one for part in taken for one in part), key=lambda one: one.entry.at)

    async def _take(self, name: str, limit: int, seconds: float, *, expired: bool = False) -> list[Leased]:
        lease = Lease(holder=self._holder, time=self._time(), seconds=seconds)
        work = partial(Segment.lease, limit=limit, lease=lease, expired=expired)
        entries = await self._segments.change(name, work) or []
        rows = await self._state.get_many([self._row(entry.key) for entry in entries])
        found = []
        for entry in entries:
            item = rows.get(self._row(entry.key))
            row = _Row.model_validate(item.value) if item else _Row(done=True)
            if row.message is not None:
                found.append(Leased(row.message, row.topic, entry, name))
            else:  # who acknowledged it was cut off before its entry was gone
                drop = partial(_drop, key=entry.key, holder=self._holder, why="acknowledged")
                await self._segments.change(name, drop)
        return found

    async def _place(self, message: Message, topic: str, tail: str, full: str) -> str | None:
        """The segment that a message belongs in: the tail, or where it was put before; None if it is done.

        Nobody can add it to a `full` one any more, so it may move from there.
        """
        key = self._row(message.identity)
        value = _Row(message=message, topic=topic, segment=tail).model_dump(mode="json")
        item: Item | None = None
        while True:
            try:
                await self._state.write(Write(key, value, etag=item.etag if item else None, create=item is None))
            except ConflictError:
                item = await self._state.get(key)
            else:
                return tail
            row = _Row.model_validate(item.value) if item else _Row(segment=full)
            if row.done or row.segment != full:
                return None if row.done else row.segment

    async def _open(self, own: str, full: str) -> str:
        """The last segment of a lane, which is another than the one that is full."""

        async def opened() -> str:
            new = f"{own}.{new_id()}"

            def listed(value: Any) -> JsonValue:
                index = Index.model_validate(value or {})
                names = index.lanes.setdefault(own, [])
                if names and names[-1] != full:
                    return None
                names.append(new)
                return index.model_dump(mode="json")

            index = Index.model_validate(await update(self._state, self._prefix, listed))
            tail = index.lanes[own][-1]
            await self._segments.create(tail)
            self._tails[own] = tail
            return tail

        return await self._opening.do(own + full, opened)

    async def _retire(self, name: str) -> list[Leased]:
        """Take a segment that is of no more use, or that was never made, from the index, with its counts."""
        await self._segments.create(name, sealed=True)
        counts = await self._segments.change(name, partial(Segment.seal, time=self._time()))
        if counts is None:
            return []

        def unlisted(value: Any) -> JsonValue:
            index = Index.model_validate(value)
            if name not in index.names():
                return None
            index.counts = index.counts.plus(counts)
            lanes = {own: [one for one in names if one != name] for own, names in index.lanes.items()}
            index.lanes = {own: names for own, names in lanes.items() if names}
            return index.model_dump(mode="json")

        await update(self._state, self._prefix, unlisted)
        return []

    async def _read_index(self) -> Index:
        item = await self._state.get(self._prefix)
        return Index.model_validate(item.value) if item else Index()

    def _time(self) -> float:
        return self._clock().timestamp()

    def _row(self, key: str) -> str:
        return f"{self._prefix}:message:{key}"


def _drop(segment: Segment, key: str, holder: str, why: Literal["acknowledged", "dead", "expired"]) -> bool:
    entry = segment.held(key, holder)
    if entry is None:
        return False
    segment.entries.remove(entry)
    setattr(segment.counts, why, getattr(segment.counts, why) + 1)
    return True
