"""Batches: what comes for a key while a write of it is under way shares the next write."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Batches(Generic[T]):
    """Gathers items, and has them written: one write for a key at a time."""

    def __init__(self, write: Callable[[str, list[T]], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: defaultdict[str, list[T]] = defaultdict(list)
        self._writing: dict[str, asyncio.Lock] = {}

    async def add(self, key: str, item: T) -> None:
        """Return when the item is written. What a write raises is raised, and its items wait for the next one."""
        self._waiting[key].append(item)
        lock = self._writing.setdefault(key, asyncio.Lock())
        async with lock:
            if items := self._waiting.pop(key, None):
                try:
                    await self._write(key, items)
                except BaseException:
                    self._waiting[key] = items + self._waiting[key]
                    raise
            if key not in self._waiting:
                self._writing.pop(key, None)
