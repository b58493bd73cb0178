"""Changing a value of the state store by what it was."""

import asyncio
from typing import Any

import pytest

from dovecote import Write
from dovecote.testing import Clock, MemoryState
from dovecote.updates import update

KEY = "count"


def _one_more(value: Any) -> int:
    return (value or 0) + 1


async def test_a_key_that_is_not_there_is_created_and_then_changed() -> None:
    state = MemoryState()
    assert [await update(state, KEY, _one_more) for _ in range(3)] == [1, 2, 3]
    assert state.values() == {KEY: 3}


async def test_a_change_to_none_leaves_what_is_there() -> None:
    state = MemoryState()
    assert await update(state, KEY, lambda _: None) is None
    assert state.values() == {}
    await state.write(Write(KEY, 7))
    assert await update(state, KEY, lambda _: None) == 7
    assert state.values() == {KEY: 7}


@pytest.mark.parametrize("before", [None, 5])
async def test_who_was_not_the_first_is_asked_again_with_what_the_first_wrote(before: int | None) -> None:
    class Overtaken(MemoryState):
        async def get(self, key: str) -> Any:
            item = await super().get(key)
            if item is None or item.value == before:
                await super().write(Write(key, 10))
            return item

    state = Overtaken()
    if before is not None:
        await state.write(Write(KEY, before))
    seen: list[Any] = []

    def note(value: Any) -> int:
        seen.append(value)
        return _one_more(value)

    assert await update(state, KEY, note) == 11
    assert seen == [before, 10]


async def test_an_error_of_the_change_is_raised_and_nothing_is_written() -> None:
    state = MemoryState()
    await state.write(Write(KEY, "text"))
    with pytest.raises(TypeError):
        await update(state, KEY, _one_more)
    assert state.values() == {KEY: "text"}


async def test_many_at_once_all_count() -> None:
    state = MemoryState()
    await asyncio.gather(*(update(state, KEY, _one_more) for _ in range(20)))
    assert state.values() == {KEY: 20}


async def test_what_is_written_is_forgotten_after_its_time() -> None:
    clock = Clock()
    state = MemoryState(clock)
    await update(state, KEY, _one_more, ttl=10)
    clock.advance(11)
    assert await update(state, KEY, _one_more, ttl=10) == 1
