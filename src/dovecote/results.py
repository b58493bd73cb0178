"""What comes out of the work: steps, sources, answers, and the events that tell of them on the way."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from dovecote.errors import DovecoteError, named
from dovecote.messages import Message, MessageType, now
from dovecote.ports import Usage

_SHOWN: Final = 500  # characters of a passage that travel with a citation


class Source(BaseModel):
    """A passage that an answer rests on. `source` is its label, such as docs/a.md:10-14."""

    model_config = ConfigDict(extra="ignore")

    source: str
    file: str = ""
    first_line: int | None = None
    last_line: int | None = None
    page: int | None = None
    text: str = ""


class Step(BaseModel):
    """One thing that was done for a task: who did it, what it was, how long it took, what it cost."""

    agent: str
    kind: Literal["model", "tool", "agent"]
    name: str
    started: datetime
    seconds: float
    usage: Usage = Usage()
    arguments: JsonValue = None
    error: str = ""


class AgentResult(BaseModel):
    """An agent's answer to one request."""

    agent: str
    text: str
    sources: list[Source] = []
    steps: list[Step] = []
    usage: Usage = Usage()


class Failure(BaseModel):
    """Why something failed: the error's class, its text, and the mend where there is one."""

    type: str
    message: str
    mend: str = ""

    @classmethod
    def of(cls, error: DovecoteError) -> Self:
        """An error, to be told elsewhere."""
        return cls(type=type(error).__name__, message=str(error), mend=error.mend)

    def to_error(self) -> DovecoteError:
        """The error, as it was raised in another process."""
        return named(self.type, self.message, self.mend)


def refusal(request: Message, error: DovecoteError, *, sender: str) -> Message:
    """The answer to a request which `sender` does not carry out: the error."""
    return request.reply(Failure.of(error).model_dump(mode="json"), sender=sender, kind=MessageType.ERROR)


def answer(request: Message, outcome: Mapping[str, JsonValue], *, sender: str) -> Message:
    """The answer to a request whose outcome is an object with its `result`, or with an `error`."""
    error = outcome.get("error")
    kind = MessageType.ERROR if error else MessageType.RESPONSE
    return request.reply(error or outcome.get("result"), sender=sender, kind=kind)


class TaskResult(BaseModel):
    """Where a task stands, and its answer once it is there."""

    task_id: str
    status: Literal["running", "completed", "failed"]
    answer: JsonValue = None
    steps: list[Step] = []
    usage: Usage = Usage()
    seconds: float | None = None
    error: Failure | None = None


class TaskEvent(BaseModel):
    """News of a task. A step is told twice: when it starts, and when it is done."""

    id: str
    task_id: str
    kind: Literal["started", "step", "progress", "completed", "failed"]
    agent: str
    text: str
    data: dict[str, Any] = {}
    timestamp: datetime = Field(default_factory=now)

    def to_message(self) -> Message:
        """The event as it travels."""
        return Message(
            id=self.id,
            type=MessageType.EVENT,
            sender=self.agent,
            conversation_id=self.task_id,
            content=self.model_dump(mode="json"),
            timestamp=self.timestamp,
        )


def sources_in(value: object) -> list[Source]:
    """Every object with a `source` label inside a tool's result, in order."""
    found: list[Source] = []
    if isinstance(value, dict):
        if isinstance(value.get("source"), str):
            source = Source.model_validate(value)
            found.append(source.model_copy(update={"text": source.text[:_SHOWN]}))
        else:
            for child in value.values():
                found += sources_in(child)
    elif isinstance(value, list):
        for child in value:
            found += sources_in(child)
    return found


def cited(text: str, sources: list[Source]) -> list[Source]:
    """Those of the sources whose label the text carries, each once, in the order of the text."""
    places: dict[str, int] = {}
    for source in sources:
        # a.md:1-1 is not what data.md:1-10 cites
        found = re.search(rf"(?<![\w./-]){re.escape(source.source)}(?!\d)", text)
        if found:
            places[source.source] = found.start()
    by_label = {source.source: source for source in sources}
    return [by_label[label] for label in sorted(places, key=lambda label: places[label])]
