"""The message: one frozen model, carried as a CloudEvents 1.0 event."""

import base64
import hashlib
import json
import uuid
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator
from pydantic_core import from_json

from dovecote.errors import InvalidInputError
from dovecote.problems import faults


class MessageType(StrEnum):
    """What a message is for."""

    TASK = "task"
    QUERY = "query"
    RESPONSE = "response"
    EVENT = "event"
    COMMAND = "command"
    STATUS = "status"
    NOTIFICATION = "notification"
    ERROR = "error"


class Priority(IntEnum):
    """How soon a message is served: the smaller the number, the sooner."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3
    BACKGROUND = 4


class DeliveryMode(StrEnum):
    """How often a message may be handled: its receiver keeps to it."""

    AT_MOST_ONCE = "at_most_once"
    AT_LEAST_ONCE = "at_least_once"
    EXACTLY_ONCE = "exactly_once"


def new_id() -> str:
    """A fresh identifier for a message or a task."""
    return str(uuid.uuid4())


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def _with_zone(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


# A time without a zone, as Python writes it, counts as UTC: it could not be compared.
Time = Annotated[datetime, AfterValidator(_with_zone)]


class Message(BaseModel):
    """What travels between services: content, and who says it to whom, why, and until when.

    `ttl` is in seconds from `timestamp`; `recipient` None means everyone. `causation_id` is the message
    that led to this one, `correlation_id` the request that this one answers, `conversation_id` the task
    that all of them belong to. Messages of one `order_key` are handled one at a time, in order, where the broker
    can. With `encoding` base64 the content is bytes, as base64 text. `delivery` is at most once: it is lost where
    its handler fails or is killed; at least once; or exactly once, as far as the effect goes: one of its id, or its
    `idempotency_key`, is not handled again, unless a replica was killed before it could say that it had handled it.
    The attempt `max_attempts` that fails, as the replica counts that handles it, is the last: the message is a dead
    letter, where the component's policy would go on. A number above the policy's own changes nothing.
    """

    model_config = ConfigDict(frozen=True)

    id: str = Field(default_factory=new_id, min_length=1)
    type: MessageType
    sender: str
    recipient: str | None = None
    content: JsonValue = None
    priority: Priority = Priority.NORMAL
    timestamp: Time = Field(default_factory=now)
    ttl: float | None = Field(default=None, gt=0)
    deadline: Time | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    conversation_id: str | None = None
    reply_to: str | None = None
    idempotency_key: str | None = None
    order_key: str | None = None
    delivery: DeliveryMode = DeliveryMode.AT_LEAST_ONCE
    max_attempts: int | None = Field(default=None, ge=1)
    encoding: Literal["base64"] | None = None
    metadata: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _bytes_are_text(self) -> Self:
        if self.encoding is not None and not isinstance(self.content, str):
            raise ValueError(f"content of encoding {self.encoding!r} is text, not {type(self.content).__name__}")
        return self

    @property
    def identity(self) -> str:
        """What a message has in common with one that is the same.

        That is its id; with an `idempotency_key` that key, among the messages of its sender and type.
        """
        return f"{self.type.value}:{self.sender}:{self.idempotency_key}" if self.idempotency_key else self.id

    def reply(self, content: JsonValue, *, sender: str, kind: MessageType = MessageType.RESPONSE) -> "Message":
        """The answer to this message; its id follows from this one's, so a repeated answer is the same one."""
        return Message(
            id=f"{self.id}.reply",
            type=kind,
            sender=sender,
            recipient=self.sender,
            content=content,
            priority=self.priority,
            correlation_id=self.id,
            causation_id=self.id,
            conversation_id=self.conversation_id,
            metadata=self.metadata,
        )

    def accepted(self, *, sender: str) -> "Message":
        """The news that `sender` has this task: it need not be sent again, and its answer will come."""
        told = self.reply({"state": "accepted"}, sender=sender, kind=MessageType.STATUS)
        return told.model_copy(update={"id": f"{self.id}.accepted"})

    def expired(self, at: datetime | None = None) -> bool:
        """Whether its time to live or its deadline has passed."""
        at = at or now()
        if self.deadline is not None and at > self.deadline:
            return True
        return self.ttl is not None and (at - self.timestamp).total_seconds() > self.ttl

    def to_cloudevent(self) -> dict[str, Any]:
        """The CloudEvents 1.0 form, for the structured JSON content mode."""
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.sender,
            "type": self.type.value,
            "time": self.timestamp.isoformat(),
            "priority": int(self.priority),
            **self._data(),
        }
        if self.recipient is not None:
            event["subject"] = self.recipient
        for field, attribute in _TEXT_ATTRIBUTES.items():
            value = getattr(self, field)
            if value is not None:
                event[attribute] = value
        if self.delivery is not DeliveryMode.AT_LEAST_ONCE:
            event[_DELIVERY] = self.delivery.value
        if self.max_attempts is not None:
            event[_MAX_ATTEMPTS] = self.max_attempts
        if self.ttl is not None:
            event["ttl"] = str(self.ttl)
        if self.deadline is not None:
            event["deadline"] = self.deadline.isoformat()
        if self.metadata:
            event["metadata"] = json.dumps(self.metadata, ensure_ascii=False)
        return event

    def _data(self) -> dict[str, Any]:
        if self.encoding is not None:
            return {"datacontenttype": "application/octet-stream", "data_base64": self.content}
        # A text is data of its own type, so that one which looks like JSON is not read as JSON.
        kind = "text/plain" if isinstance(self.content, str) else "application/json"
        return {"datacontenttype": kind, "data": self.content}

    @classmethod
    def from_cloudevent(cls, event: object, *, default_type: MessageType = MessageType.EVENT) -> Self:
        """The message of a CloudEvents event, or of any other JSON: then all of it is the content.

        An event from a client that knows nothing of Dovecote has a type of its own: it gets `default_type`,
        and its data as content. Raises InvalidInputError where the event does not fit.
        """
        if not isinstance(event, dict) or "specversion" not in event:
            event = _bare(event)
        kind = event.get("type")
        fields: dict[str, Any] = {
            "id": event.get("id"),
            "type": kind if isinstance(kind, str) and kind in _TYPES else default_type,
            "sender": event.get("source", ""),
            "recipient": event.get("subject"),
            "content": _data(event),
            "encoding": "base64" if "data_base64" in event else None,
            "timestamp": event.get("time") or now(),
        }
        for field, attribute in _TEXT_ATTRIBUTES.items():
            fields[field] = event.get(attribute)
        if event.get(_DELIVERY) is not None:
            fields["delivery"] = event[_DELIVERY]
        fields["max_attempts"] = event.get(_MAX_ATTEMPTS)
        for field in ("priority", "ttl", "deadline"):
            if event.get(field) is not None:
                fields[field] = event[field]
        try:
            if event.get("metadata"):
                fields["metadata"] = from_json(event["metadata"])
            return cls.model_validate(fields)
        except (TypeError, ValueError) as error:
            text = faults(error.errors()) if isinstance(error, ValidationError) else error
            raise InvalidInputError(f"event {event.get('id')!r} is not a message: {text}") from error


# The attribute with a message's order key; so called by the CloudEvents extension for it.
ORDER_KEY: Final = "partitionkey"
# CloudEvents attribute names are lower-case letters and digits only.
_TEXT_ATTRIBUTES: Final = {
    "correlation_id": "correlationid",
    "causation_id": "causationid",
    "conversation_id": "conversationid",
    "reply_to": "replyto",
    "idempotency_key": "idempotencykey",
    "order_key": ORDER_KEY,
}
_DELIVERY: Final = "deliverymode"
# By what stands for them in an event: a number, or its text.
_PRIORITIES: Final = {said: priority for priority in Priority for said in (int(priority), str(int(priority)))}
_MAX_ATTEMPTS: Final = "maxattempts"
_TYPES: Final = frozenset(kind.value for kind in MessageType)
# How the id begins that a message is given which came without one.
NAMELESS: Final = "nameless-"


def read_payload(payload: bytes) -> JsonValue:
    """What somebody published, whatever it is: JSON, else text, else an event whose content is bytes."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        event: dict[str, JsonValue] = {"specversion": "1.0", "id": _nameless(payload), "source": ""}
        return {**event, "data_base64": base64.b64encode(payload).decode()}
    try:
        return _finite_json(text)
    except ValueError:
        return text


def _finite_json(text: str) -> JsonValue:
    value: JsonValue = from_json(text, allow_inf_nan=False)
    json.dumps(value, allow_nan=False)  # a number such as 1e999 is read as an infinite one
    return value


def id_of(event: JsonValue) -> str:
    """The id of an event, whether it is a message or not; one of its content if it has none, or is bare JSON."""
    named = event.get("id") if isinstance(event, dict) and "specversion" in event else None
    return str(named) if named else _nameless(json.dumps(event, sort_keys=True).encode())


def priority_of(event: JsonValue) -> Priority:
    """The priority of an event that is not read yet; NORMAL if it has none, or keeps its place by an order key."""
    if not isinstance(event, dict) or event.get(ORDER_KEY) is not None:
        return Priority.NORMAL
    said = event.get("priority")
    return _PRIORITIES.get(said, Priority.NORMAL) if isinstance(said, int | str) else Priority.NORMAL


def _bare(content: object) -> dict[str, Any]:
    """Plain JSON as an event; the same content always gets the same id."""
    return {"id": _nameless(json.dumps(content, sort_keys=True).encode()), "data": content}


def _nameless(content: bytes) -> str:
    return f"{NAMELESS}{hashlib.sha256(content).hexdigest()[:32]}"


def _data(event: dict[str, Any]) -> object:
    """Event data; a text that says it is JSON is read as JSON (some brokers hand it over as text)."""
    if "data_base64" in event:
        return event["data_base64"]
    data = event.get("data")
    if isinstance(data, str) and "json" in str(event.get("datacontenttype", "")):
        try:
            return _finite_json(data)
        except ValueError:
            return data
    return data
