"""AOS: the message of the Agent Operating System (agent-operating-system-messaging.md, sections 3.2 and 5).

Its fields, types and priorities are those of Dovecote's message under other names. What it has no field for is in
`metadata.dovecote`, such as `delivery`, `idempotency_key` and `max_attempts`, which it gives beside a message;
content that is no object is `{"value": content}`; a message to everyone has no `recipient_id`. A time without a
zone counts as UTC.
"""

from datetime import datetime
from typing import Final

from pydantic import Field, JsonValue

from dovecote.adapters.lossless import EXTENSION, Foreign, Format, Json, content_of, object_of, texts
from dovecote.messages import DeliveryMode, Message, MessageType, Priority, now

__all__ = ["AosMessage", "DeliveryMode", "MessagePriority", "MessageType", "from_message", "to_message"]

MessagePriority = Priority


class AosMessage(Foreign):
    """A message of the Agent Operating System; `ttl` is in seconds, `recipient_id` None means everyone."""

    message_id: str = Field(min_length=1)
    message_type: MessageType
    sender_id: str
    recipient_id: str | None = None
    content: dict[str, JsonValue] = Field(default={})
    timestamp: datetime = Field(default_factory=now)
    priority: MessagePriority = MessagePriority.NORMAL
    metadata: dict[str, JsonValue] = Field(default={})
    correlation_id: str | None = None
    reply_to: str | None = None
    ttl: int | None = Field(default=None, gt=0)


_NAMES: Final = {
    "message_id": "id",
    "message_type": "type",
    "sender_id": "sender",
    "recipient_id": "recipient",
    "timestamp": "timestamp",
    "priority": "priority",
    "correlation_id": "correlation_id",
    "reply_to": "reply_to",
    "ttl": "ttl",
}


def _fields(said: Json) -> Json:
    fields = {name: said[foreign] for foreign, name in _NAMES.items() if foreign in said}
    return {**fields, "content": content_of(said.get("content", {})), "metadata": texts(said.get("metadata", {}))}


def _spell(message: Message) -> Json:
    fields = message.model_dump(mode="json")
    said = {foreign: fields[name] for foreign, name in _NAMES.items()}
    # Whole seconds; the exact number is in the extension.
    said["ttl"] = None if message.ttl is None else max(1, int(message.ttl))
    return {**said, "content": object_of(message.content), "metadata": dict(message.metadata)}


_FORMAT: Final = Format("aos", AosMessage, _fields, _spell, ("metadata", EXTENSION))
to_message = _FORMAT.to_message
from_message = _FORMAT.from_message
