"""Work under one key is shared while it is under way, and done anew afterwards."""

import asyncio

import pytest

from dovecote.singleflight import SingleFlight


async def test_who_asks_meanwhile_shares_the_work() -> None:
    flight: SingleFlight[int] = SingleFlight()
    gate = asyncio.Event()
    begun: list[int] = []

    async def work() -> int:
        begun.append(1)
        await gate.wait()
        return len(begun)

    first, second = (asyncio.create_task(flight.do("a", work)) for _ in range(2))
    other = asyncio.create_task(flight.do("b", work))
    await asyncio.sleep(0)
    gate.set()
    assert await first == await second
    await other
    assert len(begun) == 2
    await flight.do("a", work)
    assert len(begun) == 3


async def test_an_error_reaches_everyone_and_does_not_stay() -> None:
    flight: SingleFlight[int] = SingleFlight()

    async def fail() -> int:
        raise ValueError("no")

    async def succeed() -> int:
        return 1

    for result in await asyncio.gather(*(flight.do("a", fail) for _ in range(2)), return_exceptions=True):
        assert isinstance(result, ValueError)
    assert await flight.do("a", succeed) == 1


async def test_one_who_gives_up_does_not_end_the_work_of_others() -> None:
    flight: SingleFlight[str] = SingleFlight()
    gate = asyncio.Event()

    async def work() -> str:
        await gate.wait()
        return "done"

    leaving, staying = (asyncio.create_task(flight.do("a", work)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    gate.set()
    assert await staying == "done"
