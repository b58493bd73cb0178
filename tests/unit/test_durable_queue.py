"""The durable queue: what it costs, and that whoever is cut off anywhere leaves nothing lost or doubled."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import pytest
from pydantic import JsonValue

from dovecote import Message, MessageType, Write
from dovecote.durable_queue import ALL, DurableQueue, Leased
from dovecote.errors import UnavailableError
from dovecote.messages import now
from dovecote.ports import Item
from dovecote.segments import SIZE
from dovecote.testing import Clock, MemoryState
from tests.support.watched_state import WatchedState

T = TypeVar("T")
pytestmark = pytest.mark.asyncio(loop_scope="session")


def _message(content: JsonValue = None) -> Message:
    return Message(type=MessageType.TASK, sender="tests", content=content)


async def _fill(queue: DurableQueue, count: int) -> None:
    for _ in range(count // SIZE):
        await asyncio.gather(*(queue.put(_message("x" * 200), "tests") for _ in range(SIZE)))


async def _cost(state: WatchedState, work: Callable[[], Awaitable[object]]) -> tuple[int, int]:
    state.operations = state.bytes = 0
    await work()
    return state.operations, state.bytes


async def _costs_with(depth: int) -> list[tuple[int, int]]:
    """What putting, leasing and acknowledging a message cost where so many wait."""
    state = WatchedState()
    queue = DurableQueue(state, "work", "me", now)
    await _fill(queue, depth)
    await queue.put(_message(), "tests")  # opens a segment, as every hundredth does
    put = await _cost(state, lambda: queue.put(_message(), "tests"))
    leased: list[Leased] = []

    async def lease() -> None:
        leased.extend(await queue.lease(1, ALL, 30))

    return [put, await _cost(state, lease), await _cost(state, lambda: queue.remove(leased[0], "acknowledged"))]


@pytest.mark.promise("AOS-04")
async def test_an_operation_costs_the_same_with_ten_times_as_many_messages() -> None:
    few, many = await _costs_with(2 * SIZE), await _costs_with(20 * SIZE)
    assert [operations for operations, _ in many] == [operations for operations, _ in few]
    for (_, before), (_, after) in zip(few, many, strict=True):
        assert after < before + 60 * 20  # the index has a name for each segment


class CutState:
    """Fails at one of its operations, before its effect or after it, as when the answer is lost."""

    def __init__(self, clock: Clock, at: int, *, after: bool) -> None:
        self.left = at
        self._inner = MemoryState(clock)
        self._after = after

    async def get(self, key: str) -> Item | None:
        return (await self.get_many([key])).get(key)

    async def get_many(self, keys: Sequence[str]) -> dict[str, Item]:
        self._cut()
        return await self._inner.get_many(keys)

    async def write(self, *writes: Write) -> None:
        self._cut(after=False)
        await self._inner.write(*writes)
        self._cut(after=True)

    async def delete(self, key: str) -> None:
        self._cut(after=False)
        await self._inner.delete(key)
        self._cut(after=True)

    def _cut(self, *, after: bool | None = None) -> None:
        self.left -= not after
        if self.left == 0 and after in {None, self._after}:
            self.left = -1
            raise UnavailableError("cut off")


async def _again(work: Callable[[], Awaitable[T]]) -> T:
    """What a broker does with a message, and a receiver with what it has handled."""
    while True:
        try:
            return await work()
        except UnavailableError:
            continue


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 26))
async def test_whoever_is_cut_off_anywhere_leaves_nothing_lost_or_doubled(at: int, *, after: bool) -> None:
    clock = Clock()
    state = CutState(clock, at, after=after)
    first, second = (DurableQueue(state, "work", holder, clock.now) for holder in ("first", "second"))
    messages = [_message(number) for number in range(2)]
    for message in messages:
        for queue in (first, second):
            await _again(partial(queue.put, message, "tests"))
    handled: list[JsonValue] = []
    for queue in (first, second, first, second):
        for leased in await _again(partial(queue.lease, 10, ALL, 30)):
            handled.append(leased.message.content)
            await _again(partial(queue.remove, leased, "acknowledged"))
        clock.advance(31)
    assert sorted(map(str, handled)) == ["0", "1"]
    stats = await first.stats()
    assert (stats.depth, stats.added) == (0, 2)


@pytest.mark.parametrize("at", range(1, 12))
async def test_one_who_is_killed_while_it_acknowledges_leaves_a_message_that_is_done_or_comes_again(
    at: int,
) -> None:
    clock = Clock()
    state = CutState(clock, 0, after=True)
    queue, other = (DurableQueue(state, "work", holder, clock.now) for holder in ("queue", "other"))
    await queue.put(_message(), "tests")
    (leased,) = await queue.lease(1, ALL, 30)
    state.left = at
    with suppress(UnavailableError):
        await queue.remove(leased, "acknowledged")
    clock.advance(31)
    for one in await _again(lambda: other.lease(1, ALL, 30)):
        assert await _again(partial(other.remove, one, "acknowledged"))
    clock.advance(31)
    assert await other.lease(1, ALL, 30) == []
    assert (await other.stats()).depth == 0


async def test_a_receiver_that_is_cancelled_takes_nothing_along() -> None:
    state = WatchedState()
    queue = DurableQueue(state, "work", "me", now)
    puts = [asyncio.create_task(queue.put(_message(number), "tests")) for number in range(40)]
    for _ in range(5):
        await asyncio.sleep(0)
    for put in puts[::2]:
        put.cancel()
    await asyncio.gather(*puts, return_exceptions=True)
    kept = {leased.message.content for leased in await queue.lease(100, ALL, 30)}
    assert kept >= set(range(1, 40, 2))
