"""Slots: which of the messages that wait is next."""

import asyncio

import pytest
from pydantic import JsonValue

from dovecote import Message, MessageType, Priority
from dovecote.messages import priority_of
from dovecote.slots import BY_AGE, Slots


class Line:
    """A single slot that is taken, and those that wait for it; `done` is who had it since."""

    def __init__(self) -> None:
        self.slots = Slots(1)
        self.done: list[str] = []
        self._go = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def take(self) -> None:
        """Take the slot until `end`."""
        self.tasks.append(asyncio.create_task(self._take()))
        await asyncio.sleep(0)

    async def _take(self) -> None:
        await self.slots.take(Priority.NORMAL)
        await self._go.wait()
        self.slots.give_back()

    async def wait(self, name: str, priority: Priority) -> asyncio.Task[None]:
        """Add one that waits."""
        task = asyncio.create_task(self._wait(name, priority))
        self.tasks.append(task)
        await asyncio.sleep(0)
        return task

    async def _wait(self, name: str, priority: Priority) -> None:
        await self.slots.take(priority)
        self.done.append(name)
        self.slots.give_back()

    async def end(self) -> list[str]:
        """Give the slot back; returns who had it then, in that order."""
        self._go.set()
        async with asyncio.timeout(10):
            await asyncio.gather(*self.tasks, return_exceptions=True)
        return self.done


async def test_what_waits_goes_by_its_priority_and_then_by_its_age() -> None:
    line = Line()
    await line.take()
    for number, priority in enumerate([*reversed(Priority), Priority.LOW, Priority.CRITICAL, Priority.NORMAL]):
        await line.wait(f"{priority.name} {number}", priority)
    assert await line.end() == [
        *("CRITICAL 4", "CRITICAL 6", "HIGH 3", "NORMAL 2", "NORMAL 7", "LOW 1", "LOW 5", "BACKGROUND 0")
    ]


async def test_of_ten_slots_one_goes_to_what_has_waited_longest() -> None:
    line = Line()
    await line.take()
    for number in range(2):
        await line.wait(f"background {number}", Priority.BACKGROUND)
    for number in range(50):
        await line.wait(str(number), Priority.CRITICAL)
    done = await line.end()
    assert [done.index("background 0"), done.index("background 1")] == [BY_AGE - 1, 2 * BY_AGE - 1]


async def test_one_that_gives_up_leaves_its_place_to_the_next() -> None:
    line = Line()
    await line.take()
    gone = await line.wait("gone", Priority.CRITICAL)
    await line.wait("next", Priority.LOW)
    gone.cancel()
    assert await line.end() == ["next"]


async def test_a_turn_that_comes_to_one_that_gives_up_is_handed_on() -> None:
    slots = Slots(1)
    await slots.take(Priority.NORMAL)
    gone, after = (asyncio.create_task(_through(slots)) for _ in range(2))
    await asyncio.sleep(0)
    slots.give_back()
    gone.cancel()  # its turn has come, and it has not begun yet
    async with asyncio.timeout(10):
        await after
    with pytest.raises(asyncio.CancelledError):
        await gone


async def _through(slots: Slots) -> None:
    await slots.take(Priority.NORMAL)
    slots.give_back()


@pytest.mark.parametrize(
    "rubbish", [None, [], "text", {}, {"priority": "soon"}, {"priority": 17}, {"priority": None}]
)
def test_what_is_no_message_counts_as_normal(rubbish: JsonValue) -> None:
    assert priority_of(rubbish) is Priority.NORMAL


def test_an_event_is_ranked_before_it_is_read_unless_its_key_keeps_its_place() -> None:
    message = Message(type=MessageType.TASK, sender="tests", priority=Priority.LOW)
    assert priority_of(message.to_cloudevent()) is Priority.LOW
    assert priority_of(message.model_copy(update={"order_key": "a"}).to_cloudevent()) is Priority.NORMAL
