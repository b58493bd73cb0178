"""Conversations with a model: how content becomes a prompt, and how a long one is made to fit."""

from collections.abc import Sequence
from typing import Final

from pydantic import JsonValue
from pydantic_core import to_json

from dovecote.ports import ChatMessage

OMITTED: Final = "[left out to fit the model's context]"


def prompt(content: JsonValue) -> str:
    """A request's content as text for a model: an object becomes a titled paragraph per field."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        parts = [
            f"{name.replace('_', ' ').capitalize()}:\n{prompt(value)}"
            for name, value in content.items()
            if value not in (None, "", [], {})
        ]
        return "\n\n".join(parts)
    if isinstance(content, list) and all(isinstance(row, str) for row in content):
        return "\n".join(f"- {row}" for row in content)
    return to_json(content).decode()


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters of a text, saying so where it was cut."""
    if len(text) <= limit:
        return text
    return f"{text[: limit - len(OMITTED) - 1]}\n{OMITTED}"


def fitted(messages: Sequence[ChatMessage], limit: int) -> list[ChatMessage]:
    """The messages in at most about `limit` characters.

    The oldest tool results give way first, then the oldest turns; the instructions, the request and the
    latest turn stay. A tool result never stays without the call that it answers.
    """
    kept = list(messages)
    last_turn = max((i for i, m in enumerate(kept) if m.role == "assistant"), default=len(kept))
    for index in range(last_turn):
        if _size(kept) <= limit:
            return kept
        if kept[index].role == "tool":
            kept[index] = kept[index].model_copy(update={"content": OMITTED})
    head = [message for message in kept if message.role in ("system", "user")]
    tail = [message for message in kept if message.role not in ("system", "user")]
    while _size(head + tail) > limit and any(m.role == "assistant" for m in tail[1:]):
        tail = tail[1:]
        while tail and tail[0].role == "tool":
            tail = tail[1:]
    return head + tail


def _size(messages: Sequence[ChatMessage]) -> int:
    return sum(len(m.content) + sum(len(c.arguments) for c in m.tool_calls) for m in messages)
