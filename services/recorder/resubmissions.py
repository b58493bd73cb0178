"""What is done with a dead letter: it is handed to its consumer again, or discarded."""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from pydantic import JsonValue

from dovecote import App
from dovecote.deadletters import (
    UNKNOWN,
    DeadLetter,
    DeadLetterAction,
    DeadLetterRow,
    Note,
    Reason,
    Standing,
)
from dovecote.errors import (
    AgentUnavailableError,
    ConflictError,
    DovecoteError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from dovecote.messages import now
from services.recorder.deadletters import DeadLetters

log = logging.getLogger(__name__)

_LIMIT: Final = 60.0  # seconds for a consumer to handle a letter
_CLAIM: Final = timedelta(seconds=2 * _LIMIT)
# Errors by which it is known that no handler has seen the letter, so that the try does not count.
_NOT_REACHED: Final = (AgentUnavailableError, NotFoundError)


class Resubmissions:
    """Acts on dead letters, one at a time for each consumer of a message, whichever replica is asked."""

    def __init__(self, app: App, letters: DeadLetters) -> None:
        self._app = app
        self._letters = letters

    async def resubmit(self, action: DeadLetterAction) -> DeadLetterRow:
        """Hand a letter to its consumer; the row says whether it was handled, or is open for one more reason.

        Raises ConflictError over the limit of resubmissions or while another is under way, InvalidInputError for
        what is no open letter, has expired or is no message, AgentUnavailableError if the consumer does not run.
        """
        letter, consumer = await self._claim(action)
        row = letter.row(consumer)
        try:
            told = await self._hand_over(letter, row, action)
        except DovecoteError as error:
            await self._release(letter.id, consumer, error)
            raise
        return await self._end(letter.id, consumer, action.consumer or consumer, told)

    async def discard(self, action: DeadLetterAction) -> DeadLetterRow:
        """Give a letter up for good; what was known of it is kept for a while, with the time and `why`."""

        def change(_: DeadLetter, __: str, standing: Standing) -> None:
            standing.turn("discarded", now())
            standing.notes.append(Note(at=now(), what="discarded", text=action.why))

        letter, consumer = await self._change_open(action, change)
        log.warning(
            "dead letter %r of %r is discarded: %s", letter.id, consumer, action.why or "no reason is given"
        )
        return letter.row(consumer)

    async def _claim(self, action: DeadLetterAction) -> tuple[DeadLetter, str]:
        """Count a resubmission, and keep others from the letter until it is over."""
        limit = self._app.running.settings.max_resubmissions

        def change(letter: DeadLetter, consumer: str, standing: Standing) -> None:
            _refuse_unfit(letter, letter.row(consumer), action)
            if standing.resubmissions >= limit:
                raise ConflictError(
                    f"dead letter {letter.id!r} was resubmitted to {consumer!r} {limit} times, which is the most",
                    mend="discard it and send a new message, or raise DOVECOTE_MAX_RESUBMISSIONS of the recorder",
                )
            standing.resubmissions += 1
            standing.claimed = now() + _CLAIM
            standing.notes.append(Note(at=now(), what="resubmitted"))

        return await self._change_open(action, change)

    async def _change_open(
        self, action: DeadLetterAction, change: Callable[[DeadLetter, str, Standing], None]
    ) -> tuple[DeadLetter, str]:
        """Change how an open letter stands with its consumer, unless it is being resubmitted; returns both."""
        consumer = ""

        def change_open(letter: DeadLetter) -> None:
            nonlocal consumer
            consumer = letter.only_open(action.consumer)
            standing = letter.consumers[consumer]
            _refuse_while_claimed(letter.id, standing)
            change(letter, consumer, standing)

        return await self._letters.change(action.id, change_open), consumer

    async def _hand_over(self, letter: DeadLetter, row: DeadLetterRow, action: DeadLetterAction) -> JsonValue:
        what: JsonValue = {
            "topic": row.topic or action.topic,
            "message": letter.message.model_dump(mode="json") if letter.message else None,
            "number": row.resubmissions,
        }
        invoke = self._app.running.ports.invoke
        return await invoke(action.consumer or row.consumer, "resubmissions", what, timeout=_LIMIT)

    async def _release(self, message_id: str, consumer: str, error: DovecoteError) -> None:
        def change(letter: DeadLetter) -> None:
            standing = letter.consumers[consumer]
            if isinstance(error, _NOT_REACHED):
                standing.resubmissions -= 1
                standing.notes.pop()  # that it was resubmitted, since nothing else is noted meanwhile
            else:
                standing.notes.append(Note(at=now(), what="failed", text=f"{type(error).__name__}: {error}"))
            # Of what did not answer in time it is not known whether it goes on: the claim then runs out.
            if isinstance(error, _NOT_REACHED) or not isinstance(error, UnavailableError):
                standing.claimed = None

        await self._letters.change(message_id, change)

    async def _end(self, message_id: str, consumer: str, reached: str, told: JsonValue) -> DeadLetterRow:
        """Note what became of a resubmission: it was handled, or there is one more reason."""
        reason = None if told is None else Reason.model_validate(told).model_copy(update={"at": now()})

        def change(letter: DeadLetter) -> None:
            standing = letter.consumers[reached] = letter.consumers.pop(consumer)
            standing.claimed = None
            if reason is None:
                standing.turn("handled", now())
                standing.notes.append(Note(at=now(), what="handled"))
            else:
                letter.add(reason)
                standing.notes.append(Note(at=now(), what="failed", text=f"{reason.error}: {reason.reason}"))

        return (await self._letters.change(message_id, change)).row(reached)


def _refuse_while_claimed(message_id: str, standing: Standing) -> None:
    if standing.is_claimed(now()):
        raise ConflictError(
            f"dead letter {message_id!r} is being resubmitted", mend="wait until that is over, and look at it again"
        )


def _refuse_unfit(letter: DeadLetter, row: DeadLetterRow, action: DeadLetterAction) -> None:
    if letter.message is None:
        raise InvalidInputError(
            f"dead letter {letter.id!r} is no message, so nobody can handle it",
            mend="discard it, and send a message",
        )
    if letter.left_out:
        raise InvalidInputError(
            f"dead letter {letter.id!r} is kept without its content: {letter.left_out}",
            mend="discard it, and send the message again",
        )
    if letter.message.expired():
        raise InvalidInputError(
            f"dead letter {letter.id!r} has expired since", mend="discard it, and send a new message"
        )
    if row.consumer == UNKNOWN and (action.consumer in {"", UNKNOWN} or not action.topic):
        raise InvalidInputError(
            f"nobody told who gave up message {letter.id!r}", mend="name the consumer, and the topic it was sent to"
        )
