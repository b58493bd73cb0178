"""The context of a conversation, within limits, and branches, which share what was said before them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dovecote.appendlog import CHUNK_ENTRIES
from dovecote.conversation import estimated_tokens
from dovecote.errors import (
    InvalidInputError,
)
from tests.support.talks import SEVERAL_CHUNKS, contents, said_in, say, started
from tests.support.watched_state import WatchedState

pytestmark = pytest.mark.promise("AOS-19")


async def test_a_context_has_the_newest_messages_in_order_and_what_they_are_about() -> None:
    talk = await started(said=SEVERAL_CHUNKS)
    context = await talk.get_context(max_messages=CHUNK_ENTRIES)
    assert [message.content for message in context.messages] == contents(range(SEVERAL_CHUNKS)[-CHUNK_ENTRIES:])
    assert context.omitted == SEVERAL_CHUNKS - CHUNK_ENTRIES
    assert (context.conversation_id, context.details.topic) == (talk.id, "planning")


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 60), st.integers(0, 12))
async def test_a_context_has_as_many_messages_as_fit(tokens: int, messages: int) -> None:
    talk = await started(said=8)
    context = await talk.get_context(messages, tokens)
    # "ceo: m0" is seven bytes, so three tokens, and four for the frame.
    assert len(context.messages) == min(messages, tokens // 7, 8)
    assert context.tokens == 7 * len(context.messages) <= tokens
    assert context.omitted == 8 - len(context.messages)


async def test_tokens_are_counted_by_whatever_counts_them() -> None:
    talk = await started(said=8)
    context = await talk.get_context(max_tokens=100, count_tokens=lambda _: 21)
    assert len(context.messages) == 4


async def test_a_context_without_a_limit_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="needs a limit"):
        await (await started()).get_context()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("Two agents talk about revenue.", 10), ("鳩小屋", 3), ("\U0001f54a", 2)],
)
def test_a_token_is_three_bytes_rounded_up(text: str, tokens: int) -> None:
    assert estimated_tokens(text) == tokens


@pytest.mark.parametrize("position", [0, 1, CHUNK_ENTRIES, CHUNK_ENTRIES + 3, 3 * CHUNK_ENTRIES, SEVERAL_CHUNKS])
async def test_a_branch_begins_with_what_was_said_before_it_and_goes_its_own_way(position: int) -> None:
    talk = await started(said=SEVERAL_CHUNKS)
    branch = await talk.branch(position)
    for number in range(2_000, 2_000 + CHUNK_ENTRIES + 2):
        await say(branch, number)
    await say(talk, 1_000)
    both = range(position)
    assert await said_in(branch) == contents([*both, *range(2_000, 2_000 + CHUNK_ENTRIES + 2)])
    assert await said_in(talk) == contents([*range(SEVERAL_CHUNKS), 1_000])
    assert (await branch.details()).parent == (talk.id, position)


async def test_a_branch_of_a_branch_reads_from_all_of_them() -> None:
    talk = await started(said=SEVERAL_CHUNKS)
    one = await talk.branch(CHUNK_ENTRIES + 1)
    for number in range(1_000, 1_000 + 2 * CHUNK_ENTRIES):
        await say(one, number)
    of_both = await one.branch(2 * CHUNK_ENTRIES + 5)
    of_first = await one.branch(5)
    added = contents(range(1_000, 1_000 + CHUNK_ENTRIES + 4))
    assert await said_in(of_both) == [*contents(range(CHUNK_ENTRIES + 1)), *added]
    assert await said_in(of_first) == contents(range(5))
    context = await of_both.get_context(max_messages=CHUNK_ENTRIES + 6)
    assert [message.content for message in context.messages] == [
        *contents(range(CHUNK_ENTRIES - 1, CHUNK_ENTRIES + 1)),
        *added,
    ]


async def test_a_branch_costs_the_same_however_much_it_shares() -> None:
    costs = []
    for said in (2 * CHUNK_ENTRIES, 20 * CHUNK_ENTRIES):
        state = WatchedState()
        talk = await started(state, said)
        state.operations = state.bytes = 0
        await talk.branch(said)
        costs.append((state.operations, state.bytes))
    assert costs[0][0] == costs[1][0]
    assert costs[1][1] <= 1.1 * costs[0][1]


async def test_a_branch_knows_the_messages_that_it_shares_and_not_those_that_came_later() -> None:
    talk = await started(said=SEVERAL_CHUNKS)
    branch = await talk.branch(CHUNK_ENTRIES + 3)
    assert await say(branch, 1) == 1
    assert await say(branch, CHUNK_ENTRIES + 1) == CHUNK_ENTRIES + 1
    assert await say(branch, 2 * CHUNK_ENTRIES) == CHUNK_ENTRIES + 3
    assert await say(branch, 2 * CHUNK_ENTRIES) == CHUNK_ENTRIES + 3


async def test_what_has_ended_can_be_branched_and_the_branch_goes_on() -> None:
    talk = await started(said=3)
    await talk.end()
    branch = await talk.branch(2)
    await say(branch, 9)
    assert await said_in(branch) == ["m0", "m1", "m9"]
    assert (await branch.details()).state == "active"
