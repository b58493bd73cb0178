"""Dead letters: the message, with every reason that its consumers gave, until somebody acts on it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

from pydantic import JsonValue, ValidationError

from dovecote import App, Message
from dovecote.deadletters import DeadLetter, DeadLetterPage, DeadLetterQuery, Reason
from dovecote.errors import InvalidInputError, NotFoundError, TooLargeError, UnavailableError
from dovecote.messages import now
from dovecote.problems import faults
from dovecote.updates import update
from services.recorder.index import Index

log = logging.getLogger(__name__)

_LOOKED_THROUGH: Final = 10  # pages of the index, for one part of a listing
_FAILING: Final = int(timedelta(days=7).total_seconds())  # how long reasons are kept of what was never given up
_ENDED: Final = int(timedelta(days=90).total_seconds())  # how long a letter is, that was handled or discarded
_AGAIN: Final = 0.2  # seconds until it is tried again to keep a letter, at first
_LONGEST_PAUSE: Final = 5.0


class DeadLetters:
    """Keeps dead letters, whichever of message and reason comes first.

    One that is open is kept for good, and is in the index; of the others there is a time after which they go.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._index = Index(app, "deadletters")

    async def take_message(self, message: Message) -> None:
        """Keep a message that a consumer gave up; it goes on until that is done."""
        await _until_kept(lambda: self.change(message.id, lambda letter: letter.arrive(message, now())))

    async def take_reason(self, message: Message) -> None:
        """Keep why an attempt failed; it goes on until that is done."""
        try:
            reason = Reason.model_validate(message.content)
        except ValidationError as error:
            raise InvalidInputError(f"message {message.id!r} is no reason: {faults(error.errors())}") from error
        told = reason.model_copy(update={"at": reason.at or message.timestamp})
        await _until_kept(lambda: self.change(told.message_id, lambda letter: letter.fail(told, now())))

    async def get(self, message_id: str) -> DeadLetter:
        """What is known of a message that failed; NotFoundError if nothing is."""
        item = await self._app.running.ports.state.get(_key(message_id))
        if item is None:
            raise NotFoundError(f"there is no dead letter {message_id!r}")
        return DeadLetter.model_validate(item.value)

    async def change(self, message_id: str, change: Callable[[DeadLetter], None]) -> DeadLetter:
        """The letter as `change` has left it, which may be called several times; what it raises is raised.

        One that is too large for the store is kept without what makes it so.
        """
        try:
            letter = await self._change(message_id, change)
        except TooLargeError as error:
            why = str(error)
            log.warning("dead letter %r is kept without its content: %s", message_id, why)

            def shorten(letter: DeadLetter) -> None:
                change(letter)
                letter.shorten(why)

            letter = await self._change(message_id, shorten)
        if letter.open and letter.number is None:
            letter = await self._number(letter)
        elif letter.number is not None and not letter.open:
            await self._leave(letter, letter.number)
        return letter

    async def _change(self, message_id: str, change: Callable[[DeadLetter], None]) -> DeadLetter:
        def changed(row: Any) -> JsonValue:
            letter = DeadLetter(id=message_id) if row is None else DeadLetter.model_validate(row)
            change(letter)
            after = letter.model_dump(mode="json")
            return None if after == row else after

        return await self._write(message_id, changed)

    async def listing(self, wanted: DeadLetterQuery) -> DeadLetterPage:
        """The open letters that are meant, newest first, of which some are looked at in one call, and not all."""
        page, looked = DeadLetterPage(rows=[]), 0
        async for entries in self._index.before(wanted.cursor):
            if not entries:
                continue
            items = await self._app.running.ports.state.get_many([_key(one) for _, one in entries])
            for number, one in entries:
                page.next = number
                item = items.get(_key(one))
                letter = DeadLetter.model_validate(item.value) if item else DeadLetter(id=one)
                if letter.number == number:
                    page.rows += filter(wanted.fits, map(letter.row, letter.open))
                elif letter.number is not None or not letter.open:
                    await self._index.remove(number)  # it was left there by who could not finish
                if len(page.rows) >= wanted.limit:
                    return page
            looked += 1
            if looked == _LOOKED_THROUGH:
                return page
        page.next = None
        return page

    async def _number(self, letter: DeadLetter) -> DeadLetter:
        number = await self._index.add(letter.id)

        def numbered(row: Any) -> JsonValue:
            needless = row["number"] is not None or not DeadLetter.model_validate(row).open
            return None if needless else {**row, "number": number}

        numbered_letter = await self._write(letter.id, numbered)
        if numbered_letter.number != number:
            await self._index.remove(number)  # somebody else was first, or has acted on it
        return numbered_letter

    async def _leave(self, letter: DeadLetter, number: int) -> None:
        def left(row: Any) -> JsonValue:
            opened_again = DeadLetter.model_validate(row).open or row["number"] != number
            return None if opened_again else {**row, "number": None}

        if (await self._write(letter.id, left)).number != number:
            await self._index.remove(number)

    async def _write(self, message_id: str, change: Callable[[Any], JsonValue]) -> DeadLetter:
        state = self._app.running.ports.state
        return DeadLetter.model_validate(await update(state, _key(message_id), change, ttl=_lasting))


async def _until_kept(keep: Callable[[], Awaitable[object]]) -> None:
    """What is a dead letter has no other place to go: it stays with the broker until the store takes it."""
    pause = _AGAIN
    while True:
        try:
            await keep()
        except UnavailableError as error:
            log.warning("a dead letter waits to be kept: %s, again in %g s", error, pause)
        else:
            return
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _lasting(row: Any) -> int:
    letter = DeadLetter.model_validate(row)
    if letter.open:
        return 0
    ended = letter.given_up or any(standing.notes for standing in letter.consumers.values())
    return _ENDED if ended else _FAILING


def _key(message_id: str) -> str:
    return f"deadletter:{message_id}"
