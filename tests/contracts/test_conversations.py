"""Conversations, on every state store: replicas that write at once lose nothing."""

import asyncio

import pytest

from dovecote import Conversation
from dovecote.errors import ConversationEndedError
from tests.contracts.conftest import Kit

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(120),
    pytest.mark.promise("AOS-19"),
]


def _seen_by_both(kit: Kit, talk_id: str) -> list[Conversation]:
    return [replica.app.running.conversations.open(talk_id) for replica in kit.replicas]


async def test_two_replicas_add_a_hundred_messages_each_at_once_and_none_is_lost_or_doubled(kit: Kit) -> None:
    talk = await kit.beta.app.running.conversations.start(topic="contracts")
    both = _seen_by_both(kit, talk.id)
    spoken = await asyncio.gather(
        *(one.add_message(f"replica-{place}", number) for place, one in enumerate(both) for number in range(100))
    )
    assert sorted(one.position for one in spoken) == list(range(200))
    expected = sorted((one.position, one.message.id) for one in spoken)
    for one in both:
        assert [(found.position, found.message.id) async for found in one.replay()] == expected


async def test_a_conversation_is_read_branched_and_ended_by_any_replica(kit: Kit) -> None:
    talk = await kit.beta.app.running.conversations.start(["ceo"], topic="budget", metadata={"quarter": "Q2"})
    one, other = _seen_by_both(kit, talk.id)
    for number in range(40):
        await one.add_message("ceo", f"message {number}", message_id=f"m-{number}")
    again = await other.add_message("ceo", "message 3", message_id="m-3")
    assert again.position == 3
    context = await other.get_context(max_messages=35)
    assert [message.content for message in context.messages] == [f"message {number}" for number in range(5, 40)]
    branch = await other.branch(20)
    assert len(await branch.history()) == 20
    await one.end()
    with pytest.raises(ConversationEndedError, match="no message any more"):
        await other.add_message("cfo", "too late")
    details = await other.details()
    assert (details.topic, details.participants, details.state) == ("budget", ["ceo"], "ended")
