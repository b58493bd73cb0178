"""The seams: what the library needs from the world, as small protocols.

`dovecote.dapr` implements them on a Dapr sidecar, `dovecote.testing` in memory; both pass the same
contract tests. Values that cross a port are JSON.
"""

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from pydantic import BaseModel, JsonValue

from dovecote.classes import Lane, lane_of
from dovecote.errors import ConfigurationError
from dovecote.messages import Message, MessageType

Handler = Callable[[Message], Awaitable[None]]
Activity = Callable[[Any], Awaitable[JsonValue]]
Steps = Generator["Task", Any, JsonValue]


@dataclass(frozen=True)
class Subscription:
    """A topic, and the handler of its messages.

    `bulk` trades a few milliseconds of waiting for throughput: for topics that pile up. `default_type`
    is what a plain JSON message from a client that knows nothing of Dovecote counts as. `raw` takes whatever
    is published to the topic, not only CloudEvents and JSON objects; it cannot be had in bulk. `urgent` is
    which of the topic's lanes it takes; handlers know the topic only. With `match` it takes what that condition
    holds for only (dovecote.matching); of several subscriptions the one with the smallest `priority` comes first.
    """

    topic: str
    handler: Handler
    bulk: bool = False
    default_type: MessageType = MessageType.EVENT
    dead_letter: bool = True
    raw: bool = False
    urgent: bool = False
    match: str = ""
    priority: int = 0

    def __post_init__(self) -> None:
        if self.match and (self.raw or self.bulk):
            raise ConfigurationError(
                f"topic {self.topic!r} is subscribed with a condition and raw or in bulk",
                mend="leave one of the two out: what is raw has no fields, and a bulk one way",
            )
        if self.raw and self.bulk:
            raise ConfigurationError(
                f"topic {self.topic!r} is subscribed raw and in bulk", mend="choose one of the two"
            )

    @property
    def lane(self) -> Lane:
        """The way that its messages take."""
        return lane_of(self.topic, urgent=self.urgent)

    def in_each_lane(self) -> list["Subscription"]:
        """The subscriptions that take all the topic's messages: one for each lane."""
        other = replace(self, urgent=True)
        return [self] if other.lane == self.lane else [self, other]


class Publisher(Protocol):
    """Publishes messages to logical topics; what apps use is `dovecote.bus.Bus`, which is made on it."""

    async def publish(self, topic: str, message: Message) -> None:
        """Return when the broker has taken it; raise UnavailableError otherwise.

        Raises TooLargeError for a message that is over the broker's limit.
        """

    async def publish_batch(self, topic: str, messages: Sequence[Message]) -> None:
        """Publish several at once; raise BatchError, with the reason of each, if any was not taken.

        TooLargeError for one that is over the broker's limit: then nothing was published.
        """

    async def publish_content(self, topic: str, content: dict[str, JsonValue]) -> None:
        """Publish a bare JSON object, for readers who know no CloudEvents; UnavailableError if it was not taken."""


class Invoke(Protocol):
    """Calls a method of another app by its app-id."""

    async def __call__(  # noqa: PLR0913 - the parts of a request
        self,
        app_id: str,
        method: str,
        body: JsonValue = None,
        *,
        verb: Literal["GET", "POST", "PUT", "DELETE"] = "POST",
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,  # noqa: ASYNC109 - a limit on the whole call, kept by the sidecar's client
    ) -> JsonValue:
        """The JSON that the app answers with.

        Raises UnavailableError when the app cannot be reached, and the error that its problem body
        (RFC 9457) names for any other failure. `timeout` is in seconds.
        """


@dataclass(frozen=True)
class Item:
    """A value of the state store and its ETag."""

    value: Any
    etag: str


@dataclass(frozen=True)
class Write:
    """One write.

    With `etag` the write holds only if nobody wrote since; with `create` only if there is no such key yet. Such
    a condition is kept for keys that are only ever written with one. `ttl` is in seconds; 0 keeps for good what was
    written with one before.
    """

    key: str
    value: JsonValue
    etag: str | None = None
    create: bool = False
    ttl: int | None = None


def check_conditions(writes: Sequence[Write]) -> None:
    """Raise ValueError if one of several writes has a condition; see `State.write`."""
    if len(writes) > 1 and any(write.create or write.etag is not None for write in writes):
        keys = [write.key for write in writes]
        raise ValueError(f"a write with an ETag or `create` goes alone, not as one of {keys}")


class State(Protocol):
    """A key-value store of JSON values, private to the app."""

    async def get(self, key: str) -> Item | None:
        """The value, or None."""

    async def get_many(self, keys: Sequence[str]) -> dict[str, Item]:
        """Those of the keys that exist."""

    async def write(self, *writes: Write) -> None:
        """Write one, with a condition or not, or several without, all or nothing.

        Raises ConflictError if an ETag or `create` does not hold, TooLargeError for more than is taken at once,
        ValueError for a condition among several: a store that is said to keep it may write the others all the same.
        """

    async def delete(self, key: str) -> None:
        """Remove a key; a missing one is no error."""


class ToolSpec(BaseModel):
    """A function that a model may call: name, description and JSON Schema of its arguments."""

    name: str
    description: str
    parameters: dict[str, Any]


class ToolCall(BaseModel):
    """A call that a model asks for; `arguments` is the JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


class ChatMessage(BaseModel):
    """One message of a conversation with a model."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    tool_calls: list[ToolCall] = []
    tool_call_id: str | None = None
    name: str | None = None


class Usage(BaseModel):
    """What a task cost: model calls, and tokens where the model reports them."""

    model_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            model_calls=self.model_calls + other.model_calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
        )


class Completion(BaseModel):
    """What a model answered: a text, or calls of tools."""

    text: str
    tool_calls: list[ToolCall] = []
    usage: Usage = Usage()


class Model(Protocol):
    """A language model."""

    async def complete(self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec]) -> Completion:
        """One model call.

        Raises ModelUnavailableError when trying again may help, ModelError when it will not.
        """


class Task(Protocol):
    """Something that a workflow waits for by yielding it."""


@dataclass(frozen=True)
class Retry:
    """How often an activity is tried, and how far apart; `first` is the first pause, in seconds."""

    attempts: int = 5
    first: float = 0.2
    factor: float = 2.0
    longest: float = 10.0

    @classmethod
    def lasting(cls, seconds: float, *, longest: float = 15.0) -> "Retry":
        """Tries that go on for about that long in all."""
        pause, total, attempts = cls.first, 0.0, 1
        while total < seconds:
            total += pause
            pause = min(pause * cls.factor, longest)
            attempts += 1
        return cls(attempts=attempts, longest=longest)


class WorkflowContext(Protocol):
    """What a workflow may do. Everything else it does must be deterministic: it is replayed."""

    @property
    def instance_id(self) -> str:
        """The id of this run."""

    @property
    def current_utc_datetime(self) -> datetime:
        """The time of the current step, the same in every replay."""

    def call_activity(self, name: str, data: JsonValue, retry: Retry | None = None) -> Task:
        """Work that is done at least once, and whose result is kept. Fails with the error it raised."""

    def wait_for_external_event(self, name: str, limit: timedelta | None = None) -> Task:
        """The data of the event; TimeoutError after the limit."""

    def create_timer(self, delay: timedelta) -> Task:
        """Done after the delay, whatever restarts in between."""

    def when_all(self, tasks: Sequence[Task]) -> Task:
        """All results, in order."""

    def when_any(self, tasks: Sequence[Task]) -> Task:
        """The first task that is done."""

    def result_of(self, task: Task) -> Any:
        """The result of a task that is done, or its error raised."""


WorkflowFunction = Callable[[WorkflowContext, Any], Steps]


class WorkflowStatus(BaseModel):
    """Where a workflow stands."""

    instance_id: str
    status: Literal["running", "completed", "failed"]
    output: JsonValue = None
    error_type: str = ""
    error: str = ""


class Workflows(Protocol):
    """Durable workflows of this app."""

    def register(self, name: str, workflow: WorkflowFunction) -> None:
        """Make a workflow known, before the start."""

    def register_activity(self, name: str, activity: Activity) -> None:
        """Make an activity known, before the start."""

    async def schedule(self, name: str, data: JsonValue, *, instance_id: str) -> bool:
        """Start a run; False if there is one of that id already, which is how a repeated message is known."""

    async def raise_event(self, instance_id: str, name: str, data: dict[str, JsonValue]) -> None:
        """Hand an event to a run, with a JSON object that is not empty. One that has ended ignores it."""

    async def status(self, instance_id: str) -> WorkflowStatus | None:
        """Where a run stands; None if there is none."""


class Secrets(Protocol):
    """A secret store."""

    async def get(self, name: str) -> str:
        """The secret of that name; NotFoundError if there is none, UnavailableError if the store is away."""


class Crypto(Protocol):
    """Encrypts with keys that only the implementation knows."""

    async def encrypt(self, key_id: str, data: bytes) -> bytes:
        """The data, which must not be empty, encrypted; InvalidInputError if there is no such key."""

    async def decrypt(self, data: bytes) -> bytes:
        """What was encrypted; InvalidInputError if it was altered, or its key is not there."""


async def _as_it_is(message: Message) -> Message:
    return message


@dataclass
class Ports:
    """All ports of one app."""

    bus: Publisher
    invoke: Invoke
    state: State
    model: Model
    workflows: Workflows
    # What is not there yet, by name; empty when the app may take work.
    missing: Callable[[], Awaitable[list[str]]]
    # Finishes the activities that were begun, for so many seconds at most, and begins no more.
    drain: Callable[[float], Awaitable[None]]
    # Tells the sidecar that it is no longer needed: it delivers no more, and its callers go elsewhere.
    release: Callable[[], Awaitable[None]]
    # Takes the messages of a topic that is known only now, for as long as the block runs; it must be raw.
    listen: Callable[[Subscription], AbstractAsyncContextManager[None]]
    # The message of a dead letter, whose body may lie elsewhere, as it was sent.
    reopen: Callable[[Message], Awaitable[Message]] = _as_it_is
    # What whoever looks at the app's health is to know, though nothing is missing.
    notes: Callable[[], list[str]] = list
