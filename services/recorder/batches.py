"""Batches: what comes for a key while a write of it is under way shares the next write."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Batches(Generic[T]):
    """Gathers items, and has them written: one write for a key at a time.

    A write that comes to its end in several steps takes off its list what it has written; if it raises, only what
    is left is written with the next one.
    """

    def __init__(self, write: Callable[[str, list[T]], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: defaultdict[str, list[T]] = defaultdict(list)
        self._writing: dict[str, asyncio.Lock] = {}

    async def add(self, key: str, item: T) -> None:
        """Return when the item is written. What its write raises is raised, and the item is the caller's again."""
        self._waiting[key].append(item)
        try:
            async with self._writing.setdefault(key, asyncio.Lock()):
                if _has(self._waiting[key], item):
                    await self._write_with(key, item)
                if not self._waiting[key]:
                    self._writing.pop(key, None)
        finally:
            if left := _without(self._waiting.pop(key, []), item):
                self._waiting[key] = left

    async def _write_with(self, key: str, item: T) -> None:
        items = self._waiting.pop(key)
        try:
            await self._write(key, items)
        except BaseException as error:
            self._waiting[key] = items + self._waiting[key]
            # If this one is written, the error is for those that are not, and they will meet it themselves.
            if _has(items, item) or not isinstance(error, Exception):
                raise


def _has(items: list[T], item: T) -> bool:
    return any(one is item for one in items)


def _without(items: list[T], item: T) -> list[T]:
    """The items without that one, if it is there; one that is there twice was added twice."""
    place = next((at for at, one in enumerate(items) if one is item), len(items))
    return items[:place] + items[place + 1 :]
