"""Event streams: by type, from where the consumer of a cursor has got to, once the event is done."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from dovecote import App, Message, MessageType, TaskEvent, topics
from dovecote.errors import UnavailableError
from dovecote.messages import now
from dovecote.ports import Item, State, Write
from dovecote.streaming import LEASE, Cursor, EventStream
from dovecote.testing import Clock, Network
from services.recorder import eventlog
from services.recorder.main import app as recorder
from tests.support.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


@dataclass
class Watch:
    """Two replicas of an app that reads events, and one that publishes them."""

    net: Network
    teller: App
    readers: list[App] = field(default_factory=list)

    async def tell(self, *names: str, **fields: Any) -> None:
        for name in names:
            await self.teller.bus.publish(topics.EVENTS, {"event": name}, **fields)
        await self.net.bus.settled()

    async def read(self, count: int, *types: str, reader: int = 0, **options: Any) -> list[str]:
        """The names of the next events; asks for one more, so that all of them are done."""
        names = []
        async with aclosing(aiter(self.readers[reader].bus.stream(types, **options))) as events:
            async with asyncio.timeout(20):
                async for event in events:
                    names.append(_name(event))
                    if len(names) == count:
                        break
        return names


def _name(event: Message) -> str:
    assert isinstance(event.content, dict)
    return str(event.content["event"])


@pytest_asyncio.fixture(loop_scope="session")
async def watch() -> AsyncIterator[Watch]:
    teller, readers = App("teller"), [App("reader"), App("reader")]
    async with Network([recorder, teller, *readers]) as net:
        yield Watch(net, teller, readers)


@pytest.mark.promise("AOS-08")
async def test_a_consumer_that_was_away_goes_on_after_what_it_has_done(watch: Watch) -> None:
    await watch.tell("a", "b")
    assert await watch.read(2, cursor="bills", start="beginning") == ["a", "b"]
    await watch.net.stop("reader")
    await watch.tell("c", "d")
    await watch.net.start("reader")
    # Nothing asked for the event after b, so b is not done.
    assert await watch.read(3, cursor="bills") == ["b", "c", "d"]


@pytest.mark.promise("AOS-08")
async def test_events_of_some_types_are_told_and_the_others_passed_over(watch: Watch) -> None:
    await watch.tell("task_completed", "noise", "agent_status_changed", "noise", "task_completed")
    wanted = ("task_completed", "agent_status_changed")
    assert await watch.read(3, *wanted, start="beginning") == [
        "task_completed",
        "agent_status_changed",
        "task_completed",
    ]


async def test_a_message_type_is_a_type_as_well(watch: Watch) -> None:
    await watch.tell("x")
    await watch.tell("busy", type=MessageType.STATUS)
    assert await watch.read(1, "status", start="beginning") == ["busy"]


async def test_what_is_broadcast_and_what_becomes_of_tasks_is_streamed(watch: Watch) -> None:
    await watch.teller.bus.broadcast({"event": "quarterly_report_ready"})
    for kind in ("started", "step", "completed"):
        told = TaskEvent(id=f"t.{kind}", task_id="t", kind=kind, agent="a", text="")
        await watch.net.bus.publish(topics.TASK_EVENTS, told.to_message())
    await watch.net.bus.settled()
    names = await watch.read(3, start="beginning")
    assert sorted(names) == ["quarterly_report_ready", "task_completed", "task_started"]


async def test_without_a_start_a_stream_begins_with_what_comes_next(watch: Watch) -> None:
    await watch.tell("before")
    reading = asyncio.create_task(watch.read(1, cursor="new"))
    await eventually(lambda: "cursor:new" in watch.net.state("reader").values(), "the cursor")
    await watch.tell("after")
    assert await reading == ["after"]


async def test_each_cursor_has_a_place_of_its_own(watch: Watch) -> None:
    await watch.tell("a", "b", "c")
    assert await watch.read(3, cursor="one", start="beginning") == ["a", "b", "c"]
    assert await watch.read(2, cursor="two", start="beginning") == ["a", "b"]


async def test_hundreds_of_events_come_in_order_and_none_is_left_out(watch: Watch) -> None:
    names = [str(number) for number in range(350)]
    await watch.teller.bus.publish_batch(topics.EVENTS, [{"event": name} for name in names])
    await watch.net.bus.settled()
    assert await watch.read(350, cursor="all", start="beginning") == names


async def test_events_that_are_large_lie_in_chunks_of_a_few(watch: Watch) -> None:
    for number in range(5):
        await watch.teller.bus.publish(topics.EVENTS, {"event": str(number), "text": "x" * 150_000})
    await watch.net.bus.settled()
    assert await watch.read(5, start="beginning") == list("01234")
    sizes = [len(row["events"]) for key, row in watch.net.state("recorder").values().items() if "eventlog:" in key]
    assert max(sizes) == 2


async def test_an_event_that_the_broker_sends_again_is_told_once(watch: Watch) -> None:
    event = Message(type=MessageType.EVENT, sender="tests", content={"event": "once"})
    await asyncio.gather(*(watch.net.bus.publish(topics.EVENTS, event) for _ in range(3)))
    await watch.tell("end")
    assert await watch.read(2, start="beginning") == ["once", "end"]


async def test_one_replica_reads_for_a_cursor_and_another_takes_over_when_it_ends(watch: Watch) -> None:
    await watch.tell("a", "b", "c")
    first = aiter(watch.readers[0].bus.stream(cursor="shared", start="beginning"))
    assert _name(await anext(first)) == "a"
    assert _name(await anext(first)) == "b"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await Cursor(watch.readers[1], "shared", now).hold()
    taking_over = asyncio.create_task(watch.read(2, reader=1, cursor="shared"))
    await asyncio.sleep(0)
    assert not taking_over.done()
    await first.aclose()
    assert await taking_over == ["b", "c"]


async def test_a_replica_that_is_cut_off_is_followed_when_its_lease_is_over_and_does_not_come_between(
    watch: Watch,
) -> None:
    clock = Clock()
    await watch.tell("a", "b", "c")
    streams = [
        aiter(EventStream(app, cursor="shared", start="beginning", clock=clock.now)) for app in watch.readers
    ]
    assert _name(await anext(streams[0])) == "a"
    clock.advance(LEASE + 1)
    assert _name(await anext(streams[1])) == "a"
    assert _name(await anext(streams[1])) == "b"
    late = asyncio.ensure_future(anext(streams[0]))  # it says that a is done, and is not heard
    assert _name(await anext(streams[1])) == "c"
    assert not late.done()
    late.cancel()


async def test_a_stream_waits_for_a_recorder_that_is_away(watch: Watch) -> None:
    await watch.tell("a")
    assert await watch.read(1, cursor="patient", start="beginning") == ["a"]
    await watch.net.stop("recorder")
    reading = asyncio.create_task(watch.read(2, cursor="patient"))
    await asyncio.sleep(0)
    await watch.teller.bus.publish(topics.EVENTS, {"event": "b"})
    await watch.net.start("recorder")
    assert await reading == ["a", "b"]


async def test_a_stream_goes_on_after_events_that_are_kept_no_more_and_says_so(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    names = [str(number) for number in range(250)]
    for name in names:
        await watch.tell(name)
    assert await watch.read(5, cursor="slow", start="beginning") == names[:5]
    await watch.net.state("recorder").delete("eventlog:0")
    assert await watch.read(1, cursor="slow") == ["100"]
    assert "events that are kept no more" in caplog.text


async def test_after_a_week_without_events_a_stream_says_once_that_they_are_gone(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    await watch.tell("a", "b")
    await watch.net.state("recorder").delete("eventlog:0")
    log = eventlog.EventLog(App("recorder"))
    log._app = recorder.state.dovecote
    gone = await log.read(1, frozenset(), 10, 0)
    assert (gone.events, gone.gone) == ([], True)
    assert gone.position == (await log.read(None, frozenset(), 10, 0)).position
    assert not (await log.read(gone.position, frozenset(), 10, 0)).gone
    await watch.tell("c")
    page = await log.read(gone.position, frozenset(), 10, 0)
    assert ([_name(event.message) for event in page.events], page.gone) == (["c"], False)


async def test_events_are_kept_once_though_a_write_fails_at_the_end_of_a_chunk() -> None:
    teller = App("recorder")
    log = eventlog.EventLog(teller)
    events = [Message(type=MessageType.EVENT, sender="tests", content={"event": str(one)}) for one in range(250)]

    async def keep(event: Message) -> None:
        while True:
            try:
                return await log.append(event)
            except UnavailableError:
                await asyncio.sleep(0)

    async with Network([teller]):
        state = teller.running.ports.state = FailingState(teller.running.ports.state, "eventlog:1", "eventlog:2")
        async with asyncio.timeout(20):
            await asyncio.gather(*map(keep, events))
        assert not state.failing
        page = await log.read(0, frozenset(), 1000, 0)
        assert sorted(event.message.id for event in page.events) == sorted(event.id for event in events)


class FailingState:
    """A state store that fails once at a write of events to each of those keys, and lets others come in between."""

    def __init__(self, state: State, *failing: str) -> None:
        self._state = state
        self.failing = {*failing}

    async def get(self, key: str) -> Item | None:
        await asyncio.sleep(0)
        return await self._state.get(key)

    async def get_many(self, keys: Sequence[str]) -> dict[str, Item]:
        return await self._state.get_many(keys)

    async def write(self, *writes: Write) -> None:
        for write in writes:
            if write.key in self.failing and not write.create:
                self.failing.remove(write.key)
                raise UnavailableError("the store is away")
        await self._state.write(*writes)

    async def delete(self, key: str) -> None:
        await self._state.delete(key)


async def test_two_recorders_keep_every_event_once() -> None:
    teller, twins = App("teller"), [App("recorder"), App("recorder")]
    logs = [eventlog.EventLog(twin) for twin in twins]
    async with Network([teller, *twins]) as net:
        names = {str(number) for number in range(300)}
        await asyncio.gather(*(teller.bus.publish(topics.EVENTS, {"event": name}) for name in names))
        await net.bus.settled()
        page = await logs[0].read(0, frozenset(), 1000, 0)
        assert sorted(_name(event.message) for event in page.events) == sorted(names)
