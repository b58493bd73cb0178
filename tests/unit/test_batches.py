"""Batches: what waits for a key is written together."""

import asyncio

import pytest

from dovecote.errors import UnavailableError
from services.recorder.batches import Batches

AWAY = UnavailableError("the store is away")


class Shelf:
    """Takes `room` items at a time, and fails before the next ones as often as `failures` says."""

    def __init__(self, room: int = 10, failures: int = 0) -> None:
        self.taken: list[int] = []
        self.batches: Batches[int] = Batches(self.write)
        self._room = room
        self._failures = failures

    async def write(self, _: str, items: list[int]) -> None:
        await asyncio.sleep(0)
        while items:
            self.taken += items[: self._room]
            del items[: self._room]
            if items and self._failures:
                self._failures -= 1
                raise AWAY

    async def add(self, number: int) -> None:
        """Add until it is written, as a broker does that delivers again."""
        while True:
            try:
                return await self.batches.add("key", number)
            except UnavailableError:
                await asyncio.sleep(0)


async def test_what_comes_meanwhile_is_written_together() -> None:
    shelf = Shelf(room=100)
    async with asyncio.timeout(5):
        await asyncio.gather(*(shelf.add(number) for number in range(30)))
    assert shelf.taken == list(range(30))


async def test_what_was_written_before_a_failure_is_not_written_again() -> None:
    shelf = Shelf(failures=3)
    async with asyncio.timeout(5):
        await asyncio.gather(*(shelf.add(number) for number in range(45)))
    assert sorted(shelf.taken) == list(range(45))


async def test_a_failure_is_that_of_whose_item_is_not_written_and_leaves_it_to_the_caller() -> None:
    shelf = Shelf(room=1, failures=2)
    # The first of each write is written before it fails, and those that are left try for themselves.
    assert await _outcomes(shelf.batches) == [None] * 4
    whole = Batches(_refuse)
    assert await _outcomes(whole) == [AWAY] * 4
    assert not whole._waiting


async def _outcomes(batches: Batches[int]) -> list[BaseException | None]:
    return await asyncio.gather(*(batches.add("key", number) for number in range(4)), return_exceptions=True)


async def _refuse(_: str, __: list[int]) -> None:
    await asyncio.sleep(0)
    raise AWAY


async def test_what_its_caller_no_longer_waits_for_is_not_written_by_another() -> None:
    shelf = Shelf()
    writing = asyncio.create_task(shelf.add(0))
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(shelf.add(number)) for number in (1, 2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    await asyncio.gather(writing, waiting[1])
    assert shelf.taken == [0, 2]
