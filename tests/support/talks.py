"""Conversations for tests, in which message `m<n>` has the id `id-<n>`."""

from collections.abc import Sequence
from typing import Any

from dovecote import Conversation, Conversations
from dovecote.appendlog import CHUNK_ENTRIES
from dovecote.testing import MemoryState

SEVERAL_CHUNKS = 3 * CHUNK_ENTRIES + 5


async def started(state: Any = None, said: int = 0) -> Conversation:
    talk = await Conversations(state or MemoryState()).start(["ceo", "cfo"], topic="planning")
    for number in range(said):
        await say(talk, number)
    return talk


async def say(talk: Conversation, number: int, sender: str = "ceo") -> int:
    return (await talk.add_message(sender, f"m{number}", message_id=f"id-{number}")).position


async def said_in(talk: Conversation, start: int = 0) -> list[Any]:
    return [spoken.message.content for spoken in await talk.history(start)]


def contents(numbers: Sequence[int]) -> list[str]:
    return [f"m{number}" for number in numbers]
