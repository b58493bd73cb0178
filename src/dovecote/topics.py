"""Logical topic names, and how the active broker spells them.

In code a topic is a path written with `/`. The broker's row in components/capabilities.yaml says which
separator it takes and what a subscription needs so that the replicas of one app compete.
"""

import re
from pathlib import Path
from typing import Annotated, Final

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from dovecote.errors import ConfigurationError, TooLargeError
from dovecote.messages import Priority

QUERY_ASK: Final = "agent/query/ask"
QUERY_RESPONSE: Final = "agent/query/response"
TOOL_REGISTRATIONS: Final = "agent/tools/register"
AGENT_STATUS: Final = "agent/status/info"
TASK_EVENTS: Final = "tasks/events"
DEAD_LETTERS: Final = "deadletters"
FAILURES: Final = "deadletters/reasons"
VALUES: Final = "values"
EVENTS: Final = "events"
BROADCAST: Final = "agents/broadcast"

_LEGAL = re.compile(r"[a-z0-9_-]+(/[a-z0-9_-]+)*")
# Ends a subscription to a topic and to those below it.
_BELOW: Final = "/#"
# Topics with a level for each task: only wildcards give it a use, and a topic a task would fill other brokers.
_PER_TASK: Final = re.compile(r"(tools/[^/]+/(?:call|response))/([^/]+)")
_PATTERN = re.compile(r"#|([a-z0-9_-]+|\+)(/([a-z0-9_-]+|\+))*(/#)?")


def inbox(app_id: str) -> str:
    """The topic on which an app takes what is addressed to it, such as tasks, and answers to tasks of its own."""
    return f"agents/{app_id}/inbox"


def replies(app_id: str) -> str:
    """The topic on which an app takes the answers to its requests."""
    return f"agents/{app_id}/replies"


def client_status(app_id: str) -> str:
    """The topic that tells whether an app is online."""
    return f"client_status/{app_id}"


def tool_calls(tool_id: str) -> str:
    """The topic on which a tool that is no app gets its calls."""
    return f"agent/tools/call/{tool_id}"


def tool_responses(tool_id: str) -> str:
    """The topic on which a tool that is no app answers."""
    return f"agent/tools/response/{tool_id}"


def tool_register(name: str) -> str:
    """The topic that tells what a tool offers."""
    return f"tools/{name}/register"


def tool_status(name: str) -> str:
    """The topic that tells whether a tool is there."""
    return f"tools/{name}/status"


def tool_tasks(name: str) -> str:
    """What a tool subscribes to for its calls: a topic for each task, where the broker has wildcards."""
    return f"tools/{name}/call{_BELOW}"


def tool_call(name: str, task_id: str) -> str:
    """The topic for a call of a tool for one task; without wildcards it is the same for all tasks."""
    return f"tools/{name}/call/{_level(task_id)}"


def tool_response(name: str, task_id: str) -> str:
    """The topic of a tool's answer for one task; without wildcards it is the same for all tasks."""
    return f"tools/{name}/response/{_level(task_id)}"


def agent_topic(name: str) -> str:
    """The topic on which an agent tells what it does."""
    return f"agent/{name}/status"


def _level(text: str) -> str:
    """A level of a topic for any text."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower()) or "-"


def checked_pattern(pattern: str) -> str:
    """A pattern of topics, which may be a topic; ValueError if it is none."""
    if not _PATTERN.fullmatch(pattern):
        raise ValueError(
            f"{pattern!r} is no pattern of topics: + stands for one level, # at the end for all that follow"
        )
    return pattern


Pattern = Annotated[str, AfterValidator(checked_pattern)]
"""A text that is a pattern of topics."""


def fits(pattern: str, topic: str) -> bool:
    """Whether a topic fits a pattern, in which `+` stands for one level and `#` at the end for all that follow."""
    spelled = re.escape(pattern).replace(r"\+", "[^/]+").replace(r"\#", ".+")
    return re.fullmatch(spelled, topic) is not None


class Capabilities(BaseModel):
    """One broker's row of components/capabilities.yaml.

    `order_metadata` is what a publisher names a message's order key with; without it there is no order.
    `priority_metadata` is the same for its priority, a number that is larger for what is sooner; a subscription to
    what is urgent then says `urgent_metadata`.
    `exceptions` has the reason why the broker lacks a behaviour, by the behaviour's name in tests/conformance.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    broker: str
    separator: str
    group_prefix: str
    durable: bool
    streams: int = 1
    retained: bool = False
    wildcards: bool = False
    order_metadata: str = ""
    priority_metadata: str = ""
    urgent_metadata: dict[str, str] = {}
    max_message_bytes: int = 16_000_000
    exceptions: dict[str, str] = {}

    @property
    def subscribed(self) -> tuple[str, str, int, bool, dict[str, str]]:
        """What decides how an app subscribes: two brokers with the same are subscribed to alike."""
        return self.separator, self.group_prefix, self.streams, self.wildcards, self.urgent_metadata

    def metadata(self, priority: Priority, order_key: str | None) -> dict[str, str]:
        """What the broker is told of a message's place among others, where it can keep to it."""
        told = {self.priority_metadata: str(Priority.BACKGROUND - priority), self.order_metadata: order_key}
        return {name: text for name, text in told.items() if name and text is not None}

    def spell(self, topic: str) -> str:
        """The broker's form of a logical topic. Raises ConfigurationError for an illegal name.

        Without wildcards what is told or asked for one task goes to the topic for all, which is what `#` spells.
        """
        per_task = _PER_TASK.fullmatch(topic)
        if per_task and (per_task[2] == "#" or not self.wildcards):
            topic = per_task[1]
        if not _LEGAL.fullmatch(topic):
            raise ConfigurationError(
                f"topic {topic!r} is not legal",
                mend="use lower-case letters, digits, - and _, with / between the levels",
            )
        return topic.replace("/", self.separator)

    def check_size(self, topic: str, message_id: str, size: int) -> None:
        """Raise TooLargeError for an event of more bytes than the broker takes."""
        if size > self.max_message_bytes:
            raise TooLargeError(
                f"message {message_id!r} to {topic!r} has {size:,} bytes; "
                f"{self.broker} takes {self.max_message_bytes:,}",
                mend="keep the content elsewhere, and send where it is",
            )

    def subscription(self, topic: str, app_id: str) -> str:
        """The filter to subscribe with, so that replicas of an app share its messages."""
        below = self.separator + "#" if self.wildcards and topic.endswith(_BELOW) else ""
        return self.group_prefix.format(app_id=app_id) + self.spell(topic) + below

    def subscriptions(self, topic: str, app_id: str) -> list[str]:
        """All the filters to subscribe with at once: the plain one first, `#` and a number after the others."""
        first = self.subscription(topic, app_id)
        return [first, *(f"{first}#{number}" for number in range(2, self.streams + 1))]


def read_capabilities(file: Path, component_type: str) -> Capabilities:
    """The row of a component type. Raises ConfigurationError naming the file and the key."""
    try:
        rows = yaml.safe_load(file.read_text())
        return Capabilities.model_validate(rows[component_type])
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror}") from error
    except KeyError:
        raise ConfigurationError(
            f"{file}: no row for component type {component_type!r}", mend=f"known types: {', '.join(rows)}"
        ) from None
    except (ValidationError, yaml.YAMLError, TypeError) as error:
        raise ConfigurationError(f"{file}: row {component_type!r} does not fit: {error}") from error
