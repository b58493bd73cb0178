"""The errors of Dovecote, and what each means on the wire.

DovecoteError
├── ConfigurationError       the start is refused: a file, a key, a name is wrong
├── InvalidInputError        what came in does not fit; sending it again will not help
│   ├── TooLargeError        it is over a size limit
│   ├── BegunError           a message that may be handled at most once was begun before
│   ├── CommandRejectedError  there is no such command, or its parameters do not fit
│   ├── ConversationEndedError  nothing more can be said in it
│   ├── UnverifiedError      its signature does not show that its sender sent it, as it is
│   └── Reject               a handler refuses a message for good: it is dead-lettered at once
├── UnauthorizedError        who asks does not show the token that is demanded
├── NotFoundError            there is no such task, tool or function
├── ConflictError            somebody else wrote first
├── ToolError                a tool failed; the model sees the text and may correct its call
├── ModelError               the model refused the request (a bad key, a request it does not take)
├── BudgetError              an agent used up its steps, model calls, tokens or time, or went in circles
├── TaskFailedError          an agent answered with an error
└── UnavailableError         not now; trying again may help
    ├── ModelUnavailableError
    ├── AgentUnavailableError
    ├── BatchError           some messages of a batch were not taken
    ├── QueueFullError       a queue has as many messages as it may
    ├── NotBegunError        a message was not handed to its handler yet
    └── DeadlineError        the answer did not come in time
"""

from collections.abc import Mapping
from typing import Final, Literal, Self


class DovecoteError(Exception):
    """Root of all errors that Dovecote raises: a text that names the cause, and the mend where there is one."""

    def __init__(self, message: str, *, mend: str = "") -> None:
        super().__init__(message)
        self.mend = mend


class ConfigurationError(DovecoteError):
    """A setting, a component or a name is wrong; the start is refused."""


class InvalidInputError(DovecoteError):
    """What came in does not fit; sending it again will not help."""


class TooLargeError(InvalidInputError):
    """What came in is over a size limit."""


class ConversationEndedError(InvalidInputError):
    """A conversation has ended, and takes no message any more."""


class CommandRejectedError(InvalidInputError):
    """An app has no such command, or the parameters do not fit: the mend has the JSON Schema of what it takes."""


class BegunError(InvalidInputError):
    """A message that may be handled at most once was handed to a handler before."""


class UnverifiedError(InvalidInputError):
    """The signature of a message does not show that its sender sent it, as it is, and not long ago."""


class Reject(InvalidInputError):  # noqa: N818 - reads as what the handler does
    """Raised by a handler to refuse a message for good."""


class UnauthorizedError(DovecoteError):
    """Who asks does not show the token that is demanded."""


class NotFoundError(DovecoteError):
    """There is no such task, tool, function or topic."""


class ConflictError(DovecoteError):
    """Somebody else wrote first."""


class ToolError(DovecoteError):
    """A tool failed; the model sees the text and may correct its call."""


class ModelError(DovecoteError):
    """The model refused the request for good, for example because of its key."""


class BudgetError(DovecoteError):
    """An agent used up its steps, model calls, tokens or time, or repeats itself."""


class TaskFailedError(DovecoteError):
    """An agent that was asked answered with an error."""


class UnavailableError(DovecoteError):
    """Something does not answer now; trying again may help."""


class ModelUnavailableError(UnavailableError):
    """The model cannot be reached, is overloaded, or limits the rate."""


class AgentUnavailableError(UnavailableError):
    """No running agent or tool has that name or capability."""


class BatchError(UnavailableError):
    """Some messages of a batch were not taken; `failed` has the reason of each, by the message's id."""

    def __init__(self, message: str, *, mend: str = "", failed: Mapping[str, str] | None = None) -> None:
        super().__init__(message, mend=mend)
        self.failed = dict(failed or {})

    @classmethod
    def of(cls, topic: str, count: int, failed: Mapping[str, str]) -> Self:
        """The error of a batch of so many messages to a topic, in which the first reason is told."""
        first, reason = next(iter(failed.items()))
        text = f"{len(failed)} of {count} messages to {topic!r} were not taken; the first was {first!r}: {reason}"
        return cls(text, mend="publish those in `failed` again: their ids stay the same", failed=failed)


class QueueFullError(UnavailableError):
    """A queue has as many messages as it may; there is room again when some are acknowledged."""


class NotBegunError(UnavailableError):
    """A message was not handed to its handler yet: it is delivered again, whatever its delivery mode."""


class DeadlineError(UnavailableError):
    """The answer did not come in time."""


Verdict = Literal["RETRY", "DROP"]

# The one table: what an error is to an HTTP caller, and what becomes of the message that raised it.
OUTCOMES: Final[dict[type[Exception], tuple[int, Verdict]]] = {
    TooLargeError: (413, "DROP"),
    InvalidInputError: (422, "DROP"),
    UnauthorizedError: (401, "RETRY"),  # tokens are changed one replica after the other
    NotFoundError: (404, "DROP"),
    ConflictError: (409, "RETRY"),
    ToolError: (422, "DROP"),
    ModelError: (502, "DROP"),
    BudgetError: (422, "DROP"),
    TaskFailedError: (502, "DROP"),
    DeadlineError: (504, "RETRY"),
    UnavailableError: (503, "RETRY"),
    ConfigurationError: (500, "RETRY"),
    DovecoteError: (500, "RETRY"),
    Exception: (500, "RETRY"),
}


def outcome(error: Exception) -> tuple[int, Verdict]:
    """HTTP status and delivery verdict of an error: those of its nearest class in the table."""
    return next(OUTCOMES[kind] for kind in type(error).__mro__ if kind in OUTCOMES)


def is_retryable(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    return outcome(error)[1] == "RETRY"


def named(name: str, message: str, mend: str = "") -> DovecoteError:
    """The error of that class name, as it was raised in another process."""
    kind = globals().get(name)
    if isinstance(kind, type) and issubclass(kind, DovecoteError):
        return kind(message, mend=mend)
    return DovecoteError(f"{name}: {message}" if name else message, mend=mend)
