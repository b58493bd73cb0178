"""ACS: the agent message of the Agent Communication System (agent-communication-system.md, its API reference).

What it has no field for is in `content.dovecote`; content that is no object is `{"value": content}`. A time without
a zone, as Python writes it, counts as UTC. `task_id` and `deadline` in the content are the message's conversation
and deadline as well. `TaskRequest`, `TaskResponse`, `StatusUpdate` and `ErrorReport` are what such content is.
"""

from datetime import datetime
from enum import StrEnum
from typing import Final, Self

from pydantic import Field, JsonValue

from dovecote.adapters.lossless import EXTENSION, Foreign, Format, Json, content_of, object_of
from dovecote.errors import InvalidInputError
from dovecote.messages import Message, Priority, new_id, now
from dovecote.messages import MessageType as DovecoteType


class _Names(StrEnum):
    """Values that are read in any case: the document writes names in capitals and logs them in small letters."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return cls.__members__.get(value.upper()) if isinstance(value, str) else None


class MessageType(_Names):
    """What a message is for."""

    TASK_ASSIGNMENT = "task_assignment"
    TASK_REQUEST = "task_request"
    TASK_RESPONSE = "task_response"
    STATUS_UPDATE = "status_update"
    HEARTBEAT = "heartbeat"
    ERROR_REPORT = "error_report"
    COORDINATION = "coordination"


class MessagePriority(_Names):
    """How soon a message is served; MEDIUM is Dovecote's NORMAL."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class TaskRequest(Foreign):
    """The content of a TASK_ASSIGNMENT or TASK_REQUEST: what is to be done, by whom, until when."""

    task_id: str = Field(default_factory=new_id)
    task_type: str
    description: str = ""
    parameters: dict[str, JsonValue] = Field(default={})
    required_capabilities: list[str] = Field(default=[])
    priority: MessagePriority = MessagePriority.MEDIUM
    deadline: datetime | None = None


class TaskResponse(Foreign):
    """The content of a TASK_RESPONSE; `completion_percentage` is 0 to 100, `execution_time` in seconds."""

    task_id: str | None = None
    status: str
    result: JsonValue = None
    completion_percentage: float | None = Field(default=None, ge=0, le=100)
    execution_time: float | None = Field(default=None, ge=0)
    error_message: str | None = None


class StatusUpdate(Foreign):
    """The content of a STATUS_UPDATE or HEARTBEAT; `progress`, of the task if one is named, is 0 to 100."""

    status: str = "active"
    agent_id: str | None = None
    task_id: str | None = None
    progress: float | None = Field(default=None, ge=0, le=100)
    capabilities: list[str] = Field(default=[])
    current_tasks: int | None = Field(default=None, ge=0)


class ErrorReport(Foreign):
    """The content of an ERROR_REPORT."""

    task_id: str | None = None
    error_type: str
    error_message: str = ""


Details = TaskRequest | TaskResponse | StatusUpdate | ErrorReport
_DETAILS: Final[dict[MessageType, type[Details]]] = {
    MessageType.TASK_ASSIGNMENT: TaskRequest,
    MessageType.TASK_REQUEST: TaskRequest,
    MessageType.TASK_RESPONSE: TaskResponse,
    MessageType.STATUS_UPDATE: StatusUpdate,
    MessageType.HEARTBEAT: StatusUpdate,
    MessageType.ERROR_REPORT: ErrorReport,
}


class AgentMessage(Foreign):
    """A message from one agent to another, or to all of them where `to_agent` is None."""

    message_id: str = Field(default_factory=new_id, min_length=1)
    from_agent: str
    to_agent: str | None = None
    message_type: MessageType
    content: dict[str, JsonValue] = Field(default={})
    priority: MessagePriority = MessagePriority.MEDIUM
    timestamp: datetime = Field(default_factory=now)

    @property
    def is_broadcast(self) -> bool:
        """Whether it is for everybody."""
        return self.to_agent is None

    def details(self) -> Details:
        """The content as what it is by the type; InvalidInputError, naming the field, if it does not fit."""
        model = _DETAILS.get(self.message_type)
        if model is None:
            free = self.message_type.name
            raise InvalidInputError(f"message_type: the content of a {free} is free", mend="read `content`")
        return model.checked(self.content)


_TO_TYPE: Final = {
    MessageType.TASK_ASSIGNMENT: DovecoteType.TASK,
    MessageType.TASK_REQUEST: DovecoteType.TASK,
    MessageType.TASK_RESPONSE: DovecoteType.RESPONSE,
    MessageType.STATUS_UPDATE: DovecoteType.STATUS,
    MessageType.HEARTBEAT: DovecoteType.STATUS,
    MessageType.ERROR_REPORT: DovecoteType.ERROR,
    MessageType.COORDINATION: DovecoteType.COMMAND,
}
_FROM_TYPE: Final = {
    DovecoteType.TASK: MessageType.TASK_REQUEST,
    DovecoteType.QUERY: MessageType.TASK_REQUEST,
    DovecoteType.RESPONSE: MessageType.TASK_RESPONSE,
    DovecoteType.EVENT: MessageType.STATUS_UPDATE,
    DovecoteType.COMMAND: MessageType.COORDINATION,
    DovecoteType.STATUS: MessageType.STATUS_UPDATE,
    DovecoteType.NOTIFICATION: MessageType.STATUS_UPDATE,
    DovecoteType.ERROR: MessageType.ERROR_REPORT,
}
_TO_PRIORITY: Final = {
    MessagePriority.CRITICAL: Priority.CRITICAL,
    MessagePriority.HIGH: Priority.HIGH,
    MessagePriority.MEDIUM: Priority.NORMAL,
    MessagePriority.LOW: Priority.LOW,
}
_FROM_PRIORITY: Final = {ours: theirs for theirs, ours in _TO_PRIORITY.items()} | {
    Priority.BACKGROUND: MessagePriority.LOW
}


def _fields(said: Json) -> Json:
    content = said.get("content", {})
    task_id = content.get("task_id")
    return {
        "id": said["message_id"],
        "type": _TO_TYPE[MessageType(said["message_type"])],
        "sender": said["from_agent"],
        "recipient": said.get("to_agent"),
        "content": content_of(content),
        "priority": _TO_PRIORITY[MessagePriority(said.get("priority", MessagePriority.MEDIUM))],
        "timestamp": said["timestamp"],
        "conversation_id": task_id if isinstance(task_id, str) else None,
        "deadline": _deadline(content),
    }


def _deadline(content: Json) -> datetime | None:
    """When a task is to be done; what is no time in ISO 8601 is content only."""
    text = content.get("deadline")
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _spell(message: Message) -> Json:
    fields = message.model_dump(mode="json")
    return {
        "message_id": message.id,
        "from_agent": message.sender,
        "to_agent": message.recipient,
        "message_type": _FROM_TYPE[message.type].value,
        "content": object_of(message.content),
        "priority": _FROM_PRIORITY[message.priority].value,
        "timestamp": fields["timestamp"],
    }


_FORMAT: Final = Format("acs", AgentMessage, _fields, _spell, ("content", EXTENSION))
to_message = _FORMAT.to_message
from_message = _FORMAT.from_message
