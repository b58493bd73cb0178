"""A state store that counts what it is asked, and lets a test step in."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic_core import to_json

from dovecote.ports import Item, State, Write
from dovecote.testing import MemoryState


@dataclass
class WatchedState:
    """Counts operations, and the bytes of JSON that pass; each operation lets others go first."""

    inner: State = field(default_factory=MemoryState)
    operations: int = 0
    bytes: int = 0

    async def get(self, key: str) -> Item | None:
        return (await self.get_many([key])).get(key)

    async def get_many(self, keys: Sequence[str]) -> dict[str, Item]:
        await asyncio.sleep(0)
        found = await self.inner.get_many(keys)
        self.operations += 1
        self.bytes += sum(len(to_json(item.value)) for item in found.values())
        return found

    async def write(self, *writes: Write) -> None:
        await asyncio.sleep(0)
        await self.inner.write(*writes)
        self.operations += 1
        self.bytes += sum(len(to_json(write.value)) for write in writes)

    async def delete(self, key: str) -> None:
        await self.inner.delete(key)
