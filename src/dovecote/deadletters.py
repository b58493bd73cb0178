"""Dead letters: messages that a consumer gave up, kept with every reason until somebody acts on them.

The recorder keeps them, for each consumer of a message apart: one may have given up what another has handled.
"""

from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from dovecote.errors import InvalidInputError, NotFoundError
from dovecote.messages import Message, Time
from dovecote.topics import Pattern, fits

# The consumer of a letter of which nobody told a reason, such as one that ends the process of each who handles it.
UNKNOWN: Final = "unknown"
# Metadata of what is no message and came to its last stop: why it is none.
UNREADABLE: Final = "unreadable"

_TRACED: Final = 10  # reasons of a letter that keep their tracebacks

# failing: it is tried again, or was handled after all. open: it is a dead letter. The others are its two ends.
State = Literal["failing", "open", "handled", "discarded"]


class Reason(BaseModel):
    """Why an attempt at a message failed, as its consumer told it.

    `verdict` DROP is for good; SUCCESS tells that the consumer has handled the message after failing before.
    `event` is what came where that was no message, `resubmission` which one the attempt belongs to, 0 if to none.
    """

    message_id: str
    topic: str
    consumer: str
    attempt: int
    verdict: Literal["RETRY", "DROP", "SUCCESS"]
    error: str = ""
    reason: str = ""
    traceback: str = ""
    event: JsonValue = None
    resubmission: int = 0
    at: Time | None = None

    def repeats(self, other: "Reason") -> bool:
        """Whether both are of the same attempt."""
        return _attempt(self) == _attempt(other)


def _attempt(reason: Reason) -> tuple[object, ...]:
    # A consumer that has started again counts from one again, at another time.
    return reason.consumer, reason.topic, reason.attempt, reason.resubmission, reason.at


class Note(BaseModel):
    """A line of what was done with a letter, and when."""

    at: datetime
    what: Literal["resubmitted", "failed", "handled", "discarded"]
    text: str = ""


class Standing(BaseModel):
    """How a message stands at one consumer since a time; `claimed` is until when a resubmission is under way."""

    state: State
    since: datetime
    resubmissions: int = 0
    claimed: datetime | None = None
    notes: list[Note] = []

    def is_claimed(self, at: datetime) -> bool:
        """Whether a resubmission is under way."""
        return self.claimed is not None and self.claimed > at

    def turn(self, state: State, at: datetime) -> None:
        """Come into another state."""
        if state != self.state:
            self.state, self.since = state, at


class DeadLetterRow(BaseModel):
    """One line of a listing: what a consumer gave up, and its last reason; `since` is when it came into its state.

    `retryable` is whether the same message may succeed later without a change of it or of its consumer.
    """

    id: str
    consumer: str
    state: State
    topic: str = ""
    type: str = ""
    sender: str = ""
    error: str = ""
    reason: str = ""
    attempts: int = 0
    resubmissions: int = 0
    retryable: bool = False
    since: datetime


class DeadLetter(BaseModel):
    """A message that a consumer gave up, or failed at; `message` is there once one has given it up.

    `event` is what came where that was no message. `number` is its place in the order of all that are open.
    `left_out` is why content and tracebacks are not there, of a letter that is too large to be kept with them.
    """

    id: str
    message: Message | None = None
    event: JsonValue = None
    reasons: list[Reason] = []
    consumers: dict[str, Standing] = {}
    number: int | None = None
    left_out: str = ""

    @property
    def open(self) -> list[str]:
        """The consumers at which it waits for somebody to act."""
        return [name for name, standing in self.consumers.items() if standing.state == "open"]

    @property
    def given_up(self) -> bool:
        """Whether it came as a dead letter, and not only reasons of it."""
        return self.message is not None or self.event is not None

    def arrive(self, message: Message, at: datetime) -> None:
        """Join the message itself: whoever fails at it has given it up."""
        first = not self.given_up
        if UNREADABLE in message.metadata:
            self.event = message.content
        else:
            self.message, self.left_out = message, ""
        for standing in self.consumers.values():
            if standing.state == "failing":
                standing.turn("open", at)
        if first:
            self._ask_who(at)

    def fail(self, reason: Reason, at: datetime) -> None:
        """Join the reason of a failed attempt, or the news that a later one succeeded, in any order."""
        if any(map(reason.repeats, self.reasons)):
            return
        told = reason.at or at
        standing = self.consumers.setdefault(reason.consumer, Standing(state="failing", since=told))
        if reason.verdict == "SUCCESS":
            self._recover(reason.consumer, standing, told)
            return
        self.add(reason)
        if standing.state in {"handled", "discarded"} and told <= standing.since:
            return  # it was on its way while the letter came to its end
        if UNKNOWN in self.open and not self.consumers[UNKNOWN].is_claimed(at):
            del self.consumers[UNKNOWN]
        if reason.verdict == "DROP" or self.given_up:
            standing.turn("open", told)
        elif standing.state != "open":
            standing.turn("failing", told)

    def add(self, reason: Reason) -> None:
        """Add a reason; only the last ones keep their tracebacks, since there may be any number of them."""
        self.reasons.append(reason)
        for older in self.reasons[:-_TRACED]:
            older.traceback = ""

    def shorten(self, why: str) -> None:
        """Leave out what makes a letter large: the content and the tracebacks."""
        self.left_out = why
        if self.message:
            self.message = self.message.model_copy(update={"content": None, "encoding": None})
        if self.event is not None:
            self.event = why
        for reason in self.reasons:
            reason.traceback, reason.event = "", None

    def row(self, consumer: str) -> DeadLetterRow:
        """The line of one consumer."""
        standing = self.consumers[consumer]
        told = [reason for reason in self.reasons if reason.consumer == consumer]
        last = told[-1] if told else None
        row = DeadLetterRow(
            id=self.id,
            consumer=consumer,
            state=standing.state,
            attempts=len(told),
            resubmissions=standing.resubmissions,
            since=standing.since,
        )
        if self.message:
            row.type, row.sender = self.message.type, self.message.sender
        if last:
            row.topic, row.error, row.reason = last.topic, last.error, last.reason
            row.retryable = last.verdict == "RETRY"
        return row

    def only_open(self, consumer: str) -> str:
        """The consumer to act for: the one that is named, or the only one; InvalidInputError if there is none.

        NotFoundError if nothing is known of the message at all.
        Where nobody told who gave it up, any may be named that is not known of it.
        """
        if consumer in self.open or (not consumer and len(self.open) == 1):
            return consumer or self.open[0]
        if UNKNOWN in self.open and consumer not in {"", *self.consumers}:
            return UNKNOWN
        states = ", ".join(f"{name} ({standing.state})" for name, standing in self.consumers.items())
        if not states:
            raise NotFoundError(f"there is no dead letter {self.id!r}")
        if not self.open:
            raise InvalidInputError(f"message {self.id!r} is no dead letter now: {states}")
        if consumer:
            raise InvalidInputError(f"message {self.id!r} is no dead letter of {consumer!r} now: {states}")
        raise InvalidInputError(
            f"message {self.id!r} is a dead letter of several consumers: {', '.join(self.open)}", mend="name one"
        )

    def _recover(self, consumer: str, standing: Standing, at: datetime) -> None:
        """Join the news that a consumer has handled it: so it was another who gave it up, if somebody did."""
        if any(one.verdict == "DROP" and one.consumer == consumer for one in self.reasons):
            return
        was_open = standing.state == "open"
        standing.turn("handled", at)
        if was_open:
            self._ask_who(at)

    def _ask_who(self, at: datetime) -> None:
        """Leave it to somebody to say who gave it up, if nobody is known to have."""
        if not self.open:
            self.consumers.setdefault(UNKNOWN, Standing(state="open", since=at))


class DeadLetterFilter(BaseModel):
    """Which dead letters are meant; what is not given does not count.

    `topic` may have + for one level and # at the end for all that follow, `reason` is a part of the reason's text,
    large or small letters, `since` the earliest time at which it was given up.
    """

    model_config = ConfigDict(extra="forbid")

    consumer: str | None = None
    topic: Pattern | None = None
    type: str | None = None
    sender: str | None = None
    reason: str | None = None
    since: Time | None = None

    def fits(self, row: DeadLetterRow) -> bool:
        """Whether a line is meant."""
        exact = all(getattr(self, name) in {None, getattr(row, name)} for name in ("consumer", "type", "sender"))
        return (
            exact
            and (self.topic is None or fits(self.topic, row.topic))
            and (self.reason is None or self.reason.casefold() in f"{row.error}: {row.reason}".casefold())
            and (self.since is None or row.since >= self.since)
        )


class DeadLetterQuery(DeadLetterFilter):
    """A filter, and which part of the listing: `limit` letters at most, from where `cursor` says."""

    limit: int = Field(50, ge=1, le=100)
    cursor: int | None = Field(None, ge=0)


class DeadLetterPage(BaseModel):
    """A part of the listing, newest first. `next` is the cursor of the part that follows; None at the end.

    A part may have few lines, or none, though others follow: so many letters are looked at for one, and no more.
    """

    rows: list[DeadLetterRow]
    next: int | None = None


class DeadLetterAction(BaseModel):
    """What to act on: a letter, and the consumer where it has several. `why` is kept with one that is discarded.

    Of a letter of which nobody told a reason, the consumer and the `topic` must be named to resubmit it.
    """

    id: str
    consumer: str = ""
    topic: str = ""
    why: str = ""


class Resubmission(BaseModel):
    """A dead letter for the consumer that gave it up: the how many-th time, and from which topic it was."""

    topic: str
    message: Message
    number: int
