"""Tasks: somebody waits for their outcome, so they are safe on every broker."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.conformance.fleet import Fleet, names


async def test_a_task_is_answered(fleet: Fleet) -> None:
    """A task is answered, and each of several at once gets its own answer."""
    task = await fleet.ask(["one", "two", "three"])
    assert await fleet.answers(task) == ["Done: one", "Done: two", "Done: three"]


@pytest.mark.restarts_broker
async def test_tasks_outlive_the_broker(fleet: Fleet) -> None:
    """Tasks that are under way when the broker is killed are answered."""
    await _all_answered_although(fleet, fleet.kill_broker)


@pytest.mark.promise("ARG-18")
async def test_a_hundred_tasks_survive_two_kills(fleet: Fleet) -> None:
    """A hundred tasks at once are answered though an app and a sidecar of the two that answer are killed."""

    async def kill() -> None:
        first, second = names("worker")
        await fleet.kill(first)
        await fleet.kill_sidecar(second)

    await _all_answered_although(fleet, kill, count=100)


async def _all_answered_although(fleet: Fleet, happens: Callable[[], Awaitable[None]], count: int = 20) -> None:
    questions = [f"question {number}" for number in range(count)]
    tasks = await asyncio.gather(*(fleet.ask([question]) for question in questions))
    await happens()
    answers = [await fleet.answers(task) for task in tasks]
    assert answers == [[f"Done: {question}"] for question in questions]
