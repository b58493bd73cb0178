"""Messages for tests."""

from datetime import timedelta
from typing import Any

from dovecote import DeliveryMode, Message, MessageType, Priority
from dovecote.messages import new_id, now


def full_message(**fields: Any) -> Message:
    """A message of which every field is set but `encoding`, whose content is always text; `fields` go first."""
    content: dict[str, Any] = {
        "text": "naïve — 东京 \U0001f600 \x00",
        "numbers": [1, 2.5, -3e10],
        "nothing": None,
        "yes": True,
        "deep": {"a": [{}]},
    }
    every: dict[str, Any] = {
        "id": f"full-{new_id()}",
        "type": MessageType.EVENT,
        "sender": "tests",
        "recipient": "alpha",
        "content": content,
        "priority": Priority.HIGH,
        "timestamp": now() - timedelta(microseconds=1),
        "ttl": 3600.5,
        "deadline": now() + timedelta(hours=1),
        "correlation_id": "c-1",
        "causation_id": "c-2",
        "conversation_id": "c-3",
        "reply_to": "agents/alpha/inbox",
        "idempotency_key": f"key of {now()}",
        "order_key": f"order of {now()}",
        "delivery": DeliveryMode.EXACTLY_ONCE,
        "max_attempts": 3,
        "metadata": {"docs": "/a folder/ünï"},
    }
    return Message(**every | fields)
