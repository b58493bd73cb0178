"""Event streams: what was published for everybody, by type, from where a consumer has got to.

The events are those of the recorder's log: what is published to `events`, what is broadcast, and the milestones of
tasks. So a stream is the same on every broker, and whoever was away goes on where it was.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlencode

from pydantic import BaseModel, JsonValue

from dovecote.errors import ConflictError, DovecoteError, UnavailableError
from dovecote.messages import Message, new_id, now
from dovecote.updates import update
from dovecote.values import RECORDER

if TYPE_CHECKING:
    from dovecote.app import App

log = logging.getLogger(__name__)

Start = Literal["beginning", "end"]
LEASE: Final = 30.0
_PATIENCE: Final = 5
_PAUSE: Final = 0.5  # seconds until it is tried again, when somebody else reads or nobody answers


class StreamedEvent(BaseModel):
    """An event, and the position after it."""

    position: int
    message: Message


class Page(BaseModel):
    """Some events, and the position up to which the log was read for them.

    `gone` is whether there were events before them that the log keeps no more.
    """

    position: int
    events: list[StreamedEvent] = []
    gone: bool = False


class Place(BaseModel):
    """Where the consumer of a cursor has got to, and which replica reads for it until when (epoch seconds)."""

    position: int | None = None
    holder: str = ""
    until: float = 0.0


def event_types(message: Message) -> frozenset[str]:
    """What an event counts as: its message type, and what its content names as its `event`."""
    named = message.content.get("event") if isinstance(message.content, dict) else None
    return frozenset([message.type.value, named] if isinstance(named, str) else [message.type.value])


class Cursor:
    """The place of one consumer, kept in the app's state; one replica of the app at a time reads for it.

    Without a name it is kept nowhere.
    """

    def __init__(self, app: "App", name: str | None, clock: Callable[[], datetime]) -> None:
        self._app = app
        self._name = name
        self._clock = clock
        self._holder = new_id()
        self._unnamed = Place()

    async def hold(self) -> Place:
        """The place; waits while another replica reads."""
        while True:
            try:
                return await self._move(lambda place: place)
            except ConflictError:
                await asyncio.sleep(_PAUSE)

    async def move(self, position: int) -> None:
        """Say that all before a position is done; ConflictError if another replica reads by now."""
        await self._move(lambda place: place.model_copy(update={"position": position}))

    async def release(self) -> None:
        """Let another replica read at once."""
        with suppress(DovecoteError):  # its lease runs out
            await self._move(lambda place: place, seconds=0.0)

    async def _move(self, change: Callable[[Place], Place], seconds: float = LEASE) -> Place:
        if self._name is None:
            self._unnamed = change(self._unnamed)
            return self._unnamed
        time = self._clock().timestamp()

        def moved(value: Any) -> JsonValue:
            place = Place.model_validate(value or {})
            if place.holder != self._holder and place.until > time:
                raise ConflictError(f"another replica reads for cursor {self._name!r}")
            held = {"holder": self._holder, "until": time + seconds}
            return change(place).model_copy(update=held).model_dump(mode="json")

        return Place.model_validate(await update(self._app.running.ports.state, f"cursor:{self._name}", moved))


class EventStream:
    """Events of some types, or of all, one after the other: iterate over it.

    With a cursor, an event counts as done when the next one is asked for; what was not done comes again, to
    whichever replica reads next. A new cursor begins at the log's `start`. While the recorder or the state store is
    away, the stream waits. `clock` is that of the cursor's lease, which lasts half a minute.
    """

    def __init__(
        self,
        app: "App",
        types: Iterable[str] = (),
        *,
        cursor: str | None = None,
        start: Start = "end",
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._app = app
        self._types = sorted(types)
        self._cursor = Cursor(app, cursor, clock)
        self._name = cursor
        self._start = start

    async def __aiter__(self) -> AsyncGenerator[Message, None]:
        try:
            while True:
                try:
                    page = await self._page()
                    for event in page.events:
                        yield event.message
                        await self._cursor.move(event.position)
                    await self._cursor.move(page.position)
                except ConflictError as error:  # it goes on after what is done
                    log.info("stream %r waits: %s", self._name, error)
                except UnavailableError as error:
                    log.warning("stream %r waits: %s", self._name, error)
                    await asyncio.sleep(_PAUSE)
        finally:
            await self._cursor.release()

    async def _page(self) -> Page:
        """The next events, when there are some or after a while."""
        position = (await self._cursor.hold()).position
        if position is None:
            position = 0 if self._start == "beginning" else (await self._read()).position
            await self._cursor.move(position)
        page = await self._read(("after", position), ("wait", _PATIENCE))
        if page.gone:
            log.warning("stream %r goes on after events that are kept no more", self._name)
        return page

    async def _read(self, *query: tuple[str, int]) -> Page:
        path = f"events?{urlencode([*query, *(('types', one) for one in self._types)])}"
        row = await self._app.running.ports.invoke(RECORDER, path, verb="GET", timeout=_PATIENCE + 10)
        return Page.model_validate(row)
