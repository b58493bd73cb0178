"""Conversations: one order, nothing lost, nothing twice, and a cost that does not grow."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from dovecote import Conversations, Message, MessageType, Priority, Write
from dovecote.appendlog import CHUNK_BYTES, CHUNK_ENTRIES, AppendLog
from dovecote.errors import (
    ConflictError,
    ConversationEndedError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
    outcome,
)
from dovecote.ports import Item
from dovecote.testing import MemoryState
from tests.support.talks import SEVERAL_CHUNKS, contents, said_in, say, started
from tests.support.watched_state import WatchedState

pytestmark = pytest.mark.promise("AOS-19")


async def test_what_is_said_is_read_in_order_with_its_positions() -> None:
    talk = await started(said=SEVERAL_CHUNKS)
    spoken = [one async for one in talk.replay()]
    assert [one.position for one in spoken] == list(range(SEVERAL_CHUNKS))
    assert [one.message.content for one in spoken] == contents(range(SEVERAL_CHUNKS))


async def test_a_conversation_says_what_it_is_about_and_who_takes_part() -> None:
    conversations = Conversations(MemoryState())
    talk = await conversations.start(["ceo"], topic="planning", metadata={"quarter": "Q2"})
    await talk.add_message("cfo", "Revenue?", MessageType.QUERY)
    details = await conversations.open(talk.id).details()
    assert (details.topic, details.participants, details.metadata) == (
        "planning",
        ["ceo", "cfo"],
        {"quarter": "Q2"},
    )
    assert details.state == "active"


async def test_every_field_of_a_message_is_kept() -> None:
    talk = await started()
    message = Message(
        type=MessageType.QUERY,
        sender="ceo",
        recipient="cfo",
        content={"a": [None, "ü", {"b": None}]},
        priority=Priority.HIGH,
        ttl=5,
        correlation_id="c",
        reply_to="r",
        metadata={"k": "v"},
        conversation_id=talk.id,
    )
    await talk.add(message)
    assert [one.message for one in await talk.history()] == [message]


@pytest.mark.parametrize("start", [0, 1, CHUNK_ENTRIES - 1, CHUNK_ENTRIES, 2 * CHUNK_ENTRIES + 1, SEVERAL_CHUNKS])
async def test_a_replay_begins_at_any_position(start: int) -> None:
    talk = await started(said=SEVERAL_CHUNKS)
    assert await said_in(talk, start) == contents(range(start, SEVERAL_CHUNKS))


@pytest.mark.parametrize("start", [-1, 4])
async def test_a_position_that_is_not_there_is_refused(start: int) -> None:
    talk = await started(said=3)
    with pytest.raises(InvalidInputError, match=rf"position {start} is not in the log, .* 0 to 3"):
        await talk.history(start)
    with pytest.raises(InvalidInputError, match="is not in the log"):
        await talk.branch(start)


async def test_history_has_no_more_than_was_asked_for() -> None:
    talk = await started(said=SEVERAL_CHUNKS)
    assert [one.position for one in await talk.history(30, limit=5)] == [30, 31, 32, 33, 34]
    assert await talk.history(limit=0) == []


async def test_a_replay_tells_what_was_said_before_it_began() -> None:
    talk = await started(said=CHUNK_ENTRIES)
    seen: list[Any] = []
    async for spoken in talk.replay():
        if not seen:
            await say(talk, 1_000)
        seen.append(spoken.message.content)
    assert seen == contents(range(CHUNK_ENTRIES))


async def test_what_is_large_makes_chunks_of_fewer_messages() -> None:
    state = WatchedState()
    talk = await started(state)
    text = "x" * (CHUNK_BYTES // 2)
    for number in range(40):
        await talk.add_message("ceo", f"{number} {text}")
    state.bytes = 0
    await talk.add_message("ceo", "small")
    assert state.bytes < 5 * CHUNK_BYTES
    assert [str(content).split()[0] for content in await said_in(talk, 37)] == ["37", "38", "39", "small"]


async def test_the_ten_thousandth_message_costs_one_lookup_more_than_the_tenth() -> None:
    state = WatchedState()
    talk = await started(state)
    costs = []
    for number in range(10_000):
        before = state.operations, state.bytes
        await talk.add_message("ceo", f"What was said as number {number:5}", message_id=f"id-{number:05}")
        costs.append((state.operations - before[0], state.bytes - before[1]))
    # Both are as far from the beginning of a chunk: the tail has as many entries.
    tenth, last = costs[9], costs[9 + (10_000 - 10) // CHUNK_ENTRIES * CHUNK_ENTRIES]
    # Nothing is looked up where all that was said is in the tail.
    assert (tenth[0], last[0]) == (2, 3)
    assert last[1] <= tenth[1] * 1.05
    beginning, end = costs[2 * CHUNK_ENTRIES : 12 * CHUNK_ENTRIES], costs[-10 * CHUNK_ENTRIES :]
    assert sum(operations for operations, _ in end) == sum(operations for operations, _ in beginning)
    assert sum(size for _, size in end) <= 1.05 * sum(size for _, size in beginning)
    assert max(size for _, size in costs) < 3 * CHUNK_BYTES


async def test_the_newest_messages_of_a_long_conversation_cost_no_more_than_those_of_a_short_one() -> None:
    costs = []
    for said in (2 * CHUNK_ENTRIES, 20 * CHUNK_ENTRIES):
        state = WatchedState()
        talk = await started(state, said)
        state.operations = 0
        assert len((await talk.get_context(max_messages=20)).messages) == 20
        costs.append(state.operations)
    assert costs[0] == costs[1] <= 2


class DistantState(WatchedState):
    """A store that takes a millisecond for an operation, as a real one does: so a pause is a few of them."""

    async def get_many(self, keys: Sequence[str]) -> dict[str, Item]:
        await asyncio.sleep(0.001)
        return await super().get_many(keys)

    async def write(self, *writes: Write) -> None:
        await asyncio.sleep(0.001)
        await super().write(*writes)


async def test_two_replicas_that_write_at_once_lose_nothing_and_agree_on_the_order() -> None:
    state = DistantState()
    one = await started(state, said=SEVERAL_CHUNKS)
    other = Conversations(state).open(one.id)
    numbers = range(SEVERAL_CHUNKS, SEVERAL_CHUNKS + 1000)
    positions = await asyncio.gather(
        *(say(one, number, "one") for number in numbers[:500]),
        *(say(other, number, "other") for number in numbers[500:]),
    )
    assert sorted(positions) == list(numbers)
    expected = [content for _, content in sorted(zip(positions, contents(numbers), strict=True))]
    assert await said_in(one, SEVERAL_CHUNKS) == await said_in(other, SEVERAL_CHUNKS) == expected
    senders = [spoken.message.sender for spoken in await one.history(SEVERAL_CHUNKS)]
    assert len(set(senders[:100])) == 2, "neither had to wait for the other"


@pytest.mark.parametrize("later", [0, 1, SEVERAL_CHUNKS])
async def test_a_message_counts_once_however_late_it_comes_again(later: int) -> None:
    talk = await started(said=3 + later)
    again = await talk.add_message("cfo", "something else", message_id="id-2")
    assert again.position == 2
    assert await said_in(talk) == contents(range(3 + later))


class LosesAnswers(WatchedState):
    """A store whose every `every`th write of a head is done, and then its answer is lost."""

    error: type[Exception] = ConflictError
    every = 3
    _writes = 0

    async def write(self, *writes: Write) -> None:
        await super().write(*writes)
        self._writes += 1
        if self._writes % self.every == 0 and writes[0].etag:
            raise self.error("the answer was lost")


async def test_a_write_whose_answer_was_lost_and_that_the_sidecar_repeats_is_no_second_message() -> None:
    talk = await started(LosesAnswers(), said=SEVERAL_CHUNKS)
    assert await said_in(talk) == contents(range(SEVERAL_CHUNKS))


async def test_a_message_that_is_added_again_since_nobody_knows_whether_it_was_is_there_once() -> None:
    state = LosesAnswers()
    state.error = UnavailableError
    talk = await started(state)
    for number in range(SEVERAL_CHUNKS):
        try:
            await say(talk, number)
        except UnavailableError:
            assert await say(talk, number) == number
    assert await said_in(talk) == contents(range(SEVERAL_CHUNKS))


class Held(WatchedState):
    """A store that holds up the first chunk that is sealed."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def write(self, *writes: Write) -> None:
        if ":chunk:" in writes[0].key and not self.reached.is_set():
            self.reached.set()
            await self.go_on.wait()
        await super().write(*writes)


async def test_a_writer_that_seals_a_chunk_long_after_others_went_on_undoes_nothing() -> None:
    state = Held()
    talk = await started(state, said=CHUNK_ENTRIES)
    slow = asyncio.create_task(say(talk, 1_000))
    await state.reached.wait()
    quick = Conversations(state).open(talk.id)
    for number in range(CHUNK_ENTRIES, SEVERAL_CHUNKS):
        await say(quick, number)
    state.go_on.set()
    assert await slow == SEVERAL_CHUNKS
    assert await said_in(talk) == contents([*range(SEVERAL_CHUNKS), 1_000])


async def test_a_message_that_is_sealed_while_it_is_looked_for_is_not_added_again() -> None:
    class SealsMeanwhile(WatchedState):
        async def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
            found = await super().get_many(keys)
            if any(":entry:id-0" in key for key in keys) and not meanwhile:
                meanwhile.append("sealed")
                await say(Conversations(self.inner).open(talk.id), 0)
                await say(Conversations(self.inner).open(talk.id), 1)
            return found

    meanwhile: list[str] = []
    talk = await started(SealsMeanwhile())
    for number in range(2, 2 + CHUNK_ENTRIES - 1):
        await say(talk, number)
    assert await say(talk, 0) == CHUNK_ENTRIES - 1
    assert (await said_in(talk)).count("m0") == 1


async def test_a_writer_that_others_never_let_through_says_so() -> None:
    class Contended(MemoryState):
        async def write(self, *writes: Write) -> None:
            if writes[0].etag:
                raise ConflictError("somebody else wrote first")
            await super().write(*writes)

    state = Contended()
    talk = await started(state)
    log = AppendLog(state, f"conversation:{talk.id}", asyncio.Lock(), patience=0)
    with pytest.raises(UnavailableError, match="was written by others for 0 s on end") as caught:
        await log.append("id", {}, lambda info: info)
    assert "same id" in caught.value.mend


async def test_a_conversation_that_has_ended_takes_no_more_and_can_be_read() -> None:
    talk = await started(said=3)
    ended = await talk.end()
    assert ended.state == "ended"
    with pytest.raises(
        ConversationEndedError, match=rf"conversation '{talk.id}' ended at 2.*no message any more"
    ) as no:
        await say(talk, 3)
    assert "branch" in no.value.mend
    assert outcome(no.value) == (422, "DROP")
    assert await said_in(talk) == contents(range(3))
    assert (await talk.get_context(max_messages=1)).details.state == "ended"


async def test_a_message_that_was_in_time_may_be_added_again_after_the_end() -> None:
    talk = await started(said=3)
    await talk.end()
    assert await say(talk, 1) == 1


async def test_ending_twice_keeps_the_first_end() -> None:
    talk = await started()
    assert await talk.end() == await talk.end()


async def test_nothing_is_added_after_the_end_by_writers_that_were_under_way() -> None:
    state = WatchedState()
    talk = await started(state)
    await say(talk, 0)
    replicas = [Conversations(state).open(talk.id) for _ in range(20)]
    outcomes = await asyncio.gather(
        talk.end(), *(say(replica, number) for number, replica in enumerate(replicas, 1)), return_exceptions=True
    )
    refused = [one for one in outcomes if isinstance(one, ConversationEndedError)]
    assert len(await said_in(talk)) == 21 - len(refused)
    assert len(refused) > 0


async def test_a_conversation_of_an_id_is_started_once() -> None:
    conversations = Conversations(MemoryState())
    first = await conversations.start(["ceo"], topic="one", conversation_id="c")
    await say(first, 0)
    again = await conversations.start(["cfo"], topic="two", conversation_id="c")
    assert await said_in(again) == ["m0"]
    assert (await again.details()).topic == "one"


async def test_a_conversation_that_is_not_there_is_told() -> None:
    talk = Conversations(MemoryState()).open("none")
    for attempt in (say(talk, 0), talk.history(), talk.details(), talk.end(), talk.get_context(1), talk.branch(0)):
        with pytest.raises(NotFoundError, match="'conversation:none'"):
            await attempt


@pytest.mark.parametrize("odd", ["a:b", "a/b", "ü", "a:chunk:0", "100%"])
async def test_any_text_is_an_id(odd: str) -> None:
    talk = await Conversations(MemoryState()).start(conversation_id=odd)
    for number in range(CHUNK_ENTRIES + 1):
        await talk.add_message("ceo", number, message_id=f"{odd}{number}")
    again = await talk.add_message("ceo", 0, message_id=f"{odd}0")
    assert again.position == 0
    assert await said_in(talk) == list(range(CHUNK_ENTRIES + 1))
