"""An append log on the state store: its head has the newest entries, and what is older lies in sealed chunks.

Adding an entry reads and writes the head, and looks up one key if there are chunks, however long the log is.
A full tail is sealed, by whoever adds next, as a chunk that never changes: several that seal the same tail at once
write the same. The head is only ever written under its ETag, so no writer undoes another's entry.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic_core import to_json

from dovecote.errors import ConflictError, InvalidInputError, NotFoundError
from dovecote.ports import State, Write
from dovecote.updates import PATIENCE, Contest

Entry = dict[str, JsonValue]
Info = dict[str, JsonValue]
R = TypeVar("R")

# A tail with so many entries, or so many bytes of JSON, is sealed before the next one is added.
CHUNK_ENTRIES: Final = 32
CHUNK_BYTES: Final = 32_000


class Chunk(BaseModel):
    """Entries that follow one another, and the position of the first."""

    model_config = ConfigDict(frozen=True)

    first: int = 0
    entries: list[Entry] = []

    @property
    def end(self) -> int:
        """The position after the last entry."""
        return self.first + len(self.entries)

    def since(self, position: int) -> "Chunk":
        """The same without what comes before a position."""
        kept = self.entries[max(position - self.first, 0) :]
        return self.model_copy(update={"first": self.end - len(kept), "entries": kept})

    def until(self, position: int) -> "Chunk":
        """The same without what comes from a position on."""
        return self.model_copy(update={"entries": self.entries[: max(position - self.first, 0)]})


class Head(Chunk):
    """The newest entries, what the log is about, and where its chunks are.

    `owners` has, in order, the ids of the logs that wrote the chunks, each with the number of the first chunk that
    is not its own any more: a branch leaves those that it has in common with others under their names.
    """

    info: Info = {}
    owners: list[tuple[str, int]] = []

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return self.owners[-1][1] if self.owners else 0

    def owner(self, number: int) -> str:
        """The id of the log that wrote a chunk."""
        return next(owner for owner, end in self.owners if number < end)

    def owners_until(self, number: int) -> list[tuple[str, int]]:
        """The owners of the chunks before one."""
        begins = [0, *(end for _, end in self.owners)]
        parts = zip(begins, self.owners, strict=False)
        return [(owner, min(end, number)) for begin, (owner, end) in parts if begin < number]


class AppendLog:
    """One log, by its id. `patience` is for how many seconds a writer tries against others."""

    def __init__(self, state: State, log_id: str, lock: asyncio.Lock, patience: float = PATIENCE) -> None:
        self.id = log_id
        self._state = state
        self._lock = lock  # of all writers of this process, which would only stand in each other's way
        self._patience = patience

    async def create(self, head: Head) -> bool:
        """Write the first head; False if the log is there already."""
        try:
            await self._state.write(Write(self._key(), head.model_dump(mode="json"), create=True))
        except ConflictError:
            return False
        return True

    async def head(self) -> Head:
        """The head as it is now; NotFoundError if there is no such log."""
        return (await self._read())[0]

    async def append(self, entry_id: str, entry: Entry, admit: Callable[[Info], Info]) -> int:
        """Add an entry, unless one of that id is there; the position of the one that counts.

        `admit` gets what the log is about, and says what it is about with the entry, or raises.
        """
        entry = {**entry, "id": entry_id}

        async def add(head: Head) -> tuple[Head | None, int]:
            known = await self._position(head, entry_id)
            if known is not None:
                return None, known
            info = admit(head.info)
            if _is_full(head):
                head = await self._sealed(head)
            changed = head.model_copy(update={"info": info, "entries": [*head.entries, entry]})
            return changed, head.end

        return await self._change(add)

    async def amend(self, amended: Callable[[Info], Info]) -> Info:
        """Change what the log is about; returns it."""

        async def amend(head: Head) -> tuple[Head | None, Info]:
            info = amended(head.info)
            return (None if info == head.info else head.model_copy(update={"info": info})), info

        return await self._change(amend)

    async def forwards(self, start: int = 0) -> AsyncIterator[Chunk]:
        """The entries from a position up to what is the last one now, chunk by chunk."""
        head = await self.head()
        _check(start, head)
        if start < head.first:
            number, chunk = await self._chunk_with(head, start)
            yield chunk.since(start)
            for later in range(number + 1, head.chunks):
                yield await self._chunk(head, later)
        yield head.since(start)

    async def backwards(self, head: Head) -> AsyncIterator[Chunk]:
        """The chunks from the newest to the oldest."""
        yield head
        for number in reversed(range(head.chunks)):
            yield await self._chunk(head, number)

    async def branch(self, position: int) -> Head:
        """The head of a log that begins with this one's entries before a position; chunks are not copied."""
        head = await self.head()
        _check(position, head)
        number, part = head.chunks, Chunk(first=head.first, entries=head.entries)
        if position < head.first:
            number, part = await self._chunk_with(head, position)
        part = part.until(position)
        owners = head.owners_until(number)
        return head.model_copy(update={"first": part.first, "entries": part.entries, "owners": owners})

    async def _change(self, change: Callable[[Head], Awaitable[tuple[Head | None, R]]]) -> R:
        """Write the head as `change` makes it, anew for as long as others write first; None is no change."""
        async with self._lock:
            contest = Contest(f"log {self.id!r}", self._patience)
            while True:
                head, etag = await self._read()
                changed, result = await change(head)
                if changed is None:
                    return result
                try:
                    await self._state.write(Write(self._key(), changed.model_dump(mode="json"), etag=etag))
                except ConflictError as error:
                    await contest.lost(error)
                else:
                    return result

    async def _read(self) -> tuple[Head, str]:
        item = await self._state.get(self._key())
        if item is None:
            raise NotFoundError(f"there is no log {self.id!r}")
        return Head.model_validate(item.value), item.etag

    async def _position(self, head: Head, entry_id: str) -> int | None:
        """Where an entry of that id is: in the tail, or where the key says that was written with its chunk.

        The keys are read after the head: a chunk that is sealed in between changes the head, whose ETag then fails.
        """
        for place, entry in enumerate(head.entries):
            if entry["id"] == entry_id:
                return head.first + place
        logs = dict.fromkeys(owner for owner, _ in head.owners)
        if not logs:
            return None
        found = await self._state.get_many([self._entry_key(log, entry_id) for log in logs])
        for log in logs:
            item = found.get(self._entry_key(log, entry_id))
            # What another log added after this one was branched off is not in this one.
            if item is not None and item.value["chunk"] < head.chunks and head.owner(item.value["chunk"]) == log:
                return int(item.value["position"])
        return None

    async def _sealed(self, head: Head) -> Head:
        """The head without its tail, which is written as a chunk, with a key for each entry."""
        number = head.chunks
        chunk = Chunk(first=head.first, entries=head.entries).model_dump(mode="json")
        keys = [
            Write(self._entry_key(self.id, str(entry["id"])), {"chunk": number, "position": head.first + place})
            for place, entry in enumerate(head.entries)
        ]
        await self._state.write(Write(self._chunk_key(self.id, number), chunk), *keys)
        others = [(owner, end) for owner, end in head.owners if owner != self.id]
        return head.model_copy(
            update={"first": head.end, "entries": [], "owners": [*others, (self.id, number + 1)]}
        )

    async def _chunk(self, head: Head, number: int) -> Chunk:
        key = self._chunk_key(head.owner(number), number)
        item = await self._state.get(key)
        if item is None:
            raise NotFoundError(f"chunk {number} of log {self.id!r} is gone: there is no key {key!r}")
        return Chunk.model_validate(item.value)

    async def _chunk_with(self, head: Head, position: int) -> tuple[int, Chunk]:
        """The chunk that has a position, and its number.

        It is where it is if all chunks before it are full, or else found by halving.
        """
        low, high = 0, head.chunks
        number = min(position // CHUNK_ENTRIES, high - 1)
        while True:
            chunk = await self._chunk(head, number)
            if position < chunk.first:
                high = number
            elif position >= chunk.end:
                low = number + 1
            else:
                return number, chunk
            number = (low + high) // 2

    def _key(self) -> str:
        return f"log:{quote(self.id, safe='')}"

    @staticmethod
    def _chunk_key(log: str, number: int) -> str:
        return f"log:{quote(log, safe='')}:chunk:{number}"

    @staticmethod
    def _entry_key(log: str, entry_id: str) -> str:
        return f"log:{quote(log, safe='')}:entry:{quote(entry_id, safe='')}"


def _is_full(tail: Chunk) -> bool:
    return len(tail.entries) >= CHUNK_ENTRIES or len(to_json(tail.entries)) >= CHUNK_BYTES


def _check(position: int, head: Head) -> None:
    if not 0 <= position <= head.end:
        raise InvalidInputError(f"position {position} is not in the log, which has positions 0 to {head.end}")
