"""Last values: what was said last on a topic, for who comes later.

Not every broker retains, and not every one can subscribe to topics whose names are not known beforehand. So the
bus publishes what is to be retained a second time, on the topic `values`, from which the recorder keeps it.
"""

from datetime import datetime
from typing import Final
from urllib.parse import quote

from pydantic import BaseModel, JsonValue

from dovecote import topics
from dovecote.classes import class_of
from dovecote.errors import InvalidInputError, NotFoundError
from dovecote.messages import DeliveryMode, Message, MessageType
from dovecote.ports import Invoke

RECORDER: Final = "recorder"
_TOPIC: Final = "topic"
_UNNAMED: Final = "unnamed"


class Value(BaseModel):
    """What was said last on a topic: by which message, from whom, when."""

    topic: str
    content: JsonValue
    id: str
    sender: str
    timestamp: datetime


class Values:
    """A client of the recorder's last values."""

    def __init__(self, invoke: Invoke) -> None:
        self._invoke = invoke

    async def last(self, topic: str) -> Value | None:
        """The last value of a topic whose class is retained; None if there is none, or it was cleared."""
        try:
            row = await self._invoke(RECORDER, f"values/{quote(topic)}", verb="GET", timeout=10)
        except NotFoundError:
            return None
        return Value.model_validate(row)


def copy_to_keep(topic: str, message: Message) -> Message | None:
    """What the recorder is to get of a message on a topic; None if its class is not retained."""
    if not class_of(topic).retained:
        return None
    # What the value is about may pass; that it was said last does not, and its key is not for other topics.
    lasting = {
        "ttl": None,
        "deadline": None,
        "delivery": DeliveryMode.AT_LEAST_ONCE,
        "idempotency_key": None,
        "metadata": {**message.metadata, _TOPIC: topic},
    }
    return message.model_copy(update=lasting)


def content_to_keep(topic: str, content: JsonValue, app_id: str) -> Message | None:
    """The same of bare content, which does not say whose it is; `app_id` publishes it."""
    return copy_to_keep(topic, Message(type=MessageType.STATUS, sender=app_id or _UNNAMED, content=content))


def kept(copy: Message) -> Value:
    """The value in a message that the recorder got; InvalidInputError if it is none."""
    topic = copy.metadata.get(_TOPIC)
    if topic is None:
        raise InvalidInputError(f"message {copy.id!r} on {topics.VALUES!r} does not name a topic in its metadata")
    return Value(topic=topic, content=copy.content, id=copy.id, sender=copy.sender, timestamp=copy.timestamp)
