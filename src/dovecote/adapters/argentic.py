"""Argentic: plain JSON on its tree of topics (argentic-messaging.md, topic structure).

The topic says what a payload is. The id, the sender and the time are `message_id`, `source` and `timestamp` of the
payload (seconds since 1970), all else is the content. What the payload has no field for is in `payload.dovecote`;
content that is no object is `{"value": content}`.
"""

from typing import Any, Final, Self

from pydantic import Field, JsonValue, ValidationError, model_validator

from dovecote import topics
from dovecote.adapters.lossless import EXTENSION, Foreign, Format, Json, content_of, object_of
from dovecote.messages import Message, MessageType
from dovecote.problems import faults

LEVELS: Final = ("debug", "info", "warning", "error")


class Payload(Foreign):
    """What all payloads may have; `timestamp` is seconds since 1970, or the time as text."""

    message_id: str | None = Field(default=None, min_length=1)
    source: str | None = None
    timestamp: float | str | None = None


class Status(Payload):
    """The status of an agent or a tool: any fields."""


class Question(Payload):
    """A question to the agent."""

    question: str
    id: str | int | None = None
    user_id: str | None = None
    collection_name: str | None = None


class Answer(Payload):
    """The agent's answer, or its error."""

    question: str | None = None
    answer: JsonValue = None
    error: JsonValue = None
    user_id: str | None = None


class ToolRegistration(Payload):
    """What a tool says of itself; `tool_name`, `tool_manual` and `tool_api` are other names of the first three."""

    name: str | None = None
    description: str | None = None
    parameters: JsonValue = None
    tool_name: str | None = None
    tool_manual: str | None = None
    tool_api: JsonValue = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not (self.name or self.tool_name):
            raise ValueError("name is missing")
        return self


class ToolCall(Payload):
    """A call of a tool: `id` (or `task_id`) names it, `arguments` are what it is called with."""

    arguments: dict[str, JsonValue]
    id: str | int | None = None
    task_id: str | int | None = None
    tool_id: str | None = None
    tool_name: str | None = None


class ToolResponse(Payload):
    """What a tool answers to the call `id` (or `task_id`): a result or an error."""

    id: str | int | None = None
    task_id: str | int | None = None
    tool_id: str | None = None
    result: JsonValue = None
    error: JsonValue = None


class LogRecord(Payload):
    """A line of a log; its level is the last part of its topic, `logger` says who wrote it."""

    message: str
    level: str | None = None
    logger: str | None = None


# What is published where, `+` standing for one level, and which type of message it is.
TREE: Final[dict[str, tuple[MessageType, type[Payload]]]] = {
    topics.AGENT_STATUS: (MessageType.STATUS, Status),
    topics.QUERY_ASK: (MessageType.QUERY, Question),
    topics.QUERY_RESPONSE: (MessageType.RESPONSE, Answer),
    topics.TOOL_REGISTRATIONS: (MessageType.EVENT, ToolRegistration),
    topics.tool_calls("+"): (MessageType.TASK, ToolCall),
    topics.tool_responses("+"): (MessageType.RESPONSE, ToolResponse),
    topics.tool_register("+"): (MessageType.EVENT, ToolRegistration),
    "tools/+/status": (MessageType.STATUS, Status),
    "tools/+/call/+": (MessageType.TASK, ToolCall),
    "tools/+/response/+": (MessageType.RESPONSE, ToolResponse),
    **{f"logs/{level}": (MessageType.NOTIFICATION, LogRecord) for level in LEVELS},
    "logs/agent/+": (MessageType.NOTIFICATION, LogRecord),
}


class ArgenticMessage(Foreign):
    """A payload, and the topic that it is published to: one of the document's tree."""

    topic: str
    payload: dict[str, JsonValue]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if _place(self.topic) is None:
            raise ValueError(f"topic {self.topic!r} is none of {', '.join(TREE)}")
        try:
            self.details()
        except ValidationError as error:
            raise ValueError(f"payload of {self.topic!r}: {faults(error.errors())}") from error
        return self

    def details(self) -> Payload:
        """The payload as what the topic says that it is."""
        _, model = TREE[_place(self.topic) or topics.AGENT_STATUS]
        return model.model_validate(self.payload)


def _place(topic: str) -> str | None:
    return next((pattern for pattern in TREE if topics.fits(pattern, topic)), None)


def _fields(said: Json) -> Json:
    topic, payload = said["topic"], said["payload"]
    place = _place(topic) or topics.AGENT_STATUS
    kind, _ = TREE[place]
    fields: Json = {"type": kind, "sender": payload.get("source") or ""}
    own = payload.get("id") or payload.get("task_id")
    if kind is MessageType.RESPONSE:
        fields["correlation_id"] = None if own is None else str(own)
        fields |= {"type": MessageType.ERROR} if payload.get("error") else {}
        own = None
    if identity := payload.get("message_id") or own:
        fields["id"] = str(identity)
    if payload.get("timestamp") is not None:
        fields["timestamp"] = payload["timestamp"]
    if kind is MessageType.TASK:
        fields["recipient"] = topic.split("/")[place.split("/").index("+")]
    content = {name: value for name, value in payload.items() if name not in ("message_id", "source", "timestamp")}
    return {**fields, "content": content_of(content)}


def _spell(message: Message) -> Json:
    about = {"message_id": message.id, "source": message.sender, "timestamp": message.timestamp.timestamp()}
    payload = {**object_of(message.content), **about}
    return {"topic": next(topic for topic in _candidates(message) if _valid(topic, payload)), "payload": payload}


def _valid(topic: str, payload: Json) -> bool:
    try:
        ArgenticMessage.model_validate({"topic": topic, "payload": payload})
    except ValidationError:
        return False
    return True


def _candidates(message: Message) -> list[str]:
    """Where a message of its type belongs, the likeliest first; a status may have any fields."""
    content: Any = message.content if isinstance(message.content, dict) else {}
    match message.type:
        case MessageType.QUERY:
            found = [topics.QUERY_ASK]
        case MessageType.TASK | MessageType.COMMAND if message.recipient:
            found = [topics.tool_calls(message.recipient)]
        case MessageType.RESPONSE | MessageType.ERROR:
            found = [topics.QUERY_RESPONSE]
        case MessageType.NOTIFICATION if content.get("level") in LEVELS:
            found = [f"logs/{content['level']}"]
        case _:
            found = []
    return [*found, topics.AGENT_STATUS]


_FORMAT: Final = Format("argentic", ArgenticMessage, _fields, _spell, ("payload", EXTENSION))
to_message = _FORMAT.to_message
from_message = _FORMAT.from_message
