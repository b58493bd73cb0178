"""The log of events: all that is published for everybody, in the order of its coming, for streams to read.

It lies in chunks, of which only the last one is written to; a reader names the position that it has reached. A
chunk is there before the head names it, so that none is passed over that will still be filled.
"""

import asyncio
import contextlib
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, JsonValue
from pydantic_core import to_json

from dovecote import App, Message, TaskEvent, Write, topics
from dovecote.errors import ConflictError
from dovecote.streaming import Page, StreamedEvent, event_types
from dovecote.updates import update
from services.recorder.batches import Batches

_HEAD: Final = "eventlog"
_KEPT: Final = 7 * 24 * 3600  # seconds
_MOST: Final = 100  # events in a chunk
_LARGEST: Final = 200_000  # bytes with which a chunk takes no more
_STRIDE: Final = 1000  # positions for each chunk, of which it uses the first
_READ: Final = 10  # chunks that are read for one call
_LOOK: Final = 0.5  # seconds between two looks for what other replicas have added
_MILESTONES: Final = ("started", "completed", "failed")


class _Chunk(BaseModel):
    events: list[Message] = []
    size: int = 0

    def add(self, message: Message) -> bool:
        """Whether the message is in it, by now or before."""
        if any(one.id == message.id for one in self.events):
            return True
        if len(self.events) >= _MOST or self.size >= _LARGEST:
            return False
        self.events.append(message)
        self.size += len(to_json(message))
        return True


class EventLog:
    """Keeps what is broadcast, what is published as an event, and the milestones of tasks, for seven days."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._additions: Batches[Message] = Batches(self._write)
        self._grown: asyncio.Event | None = None
        app.subscribe(topics.BROADCAST)(self.append)
        app.subscribe(topics.EVENTS)(self.append)
        app.router.include_router(self._router())

    async def append(self, message: Message) -> None:
        """Return when the event is kept; one that comes again soon is kept once."""
        await self._additions.add(_HEAD, message)
        if self._grown:
            self._grown.set()
            self._grown = None

    async def append_milestone(self, event: TaskEvent) -> None:
        """Keep that a task was started, is completed or has failed, as an event of type `task_completed`, say."""
        if event.kind in _MILESTONES:
            content = {**event.model_dump(mode="json"), "event": f"task_{event.kind}"}
            await self.append(event.to_message().model_copy(update={"content": content}))

    async def read(self, after: int | None, types: frozenset[str], limit: int, wait: float) -> Page:
        """Events of those types, or all, after a position; waits up to `wait` seconds for one. None is the end."""
        if after is None:
            return Page(position=await self._end())
        clock = asyncio.get_running_loop().time
        until = clock() + wait
        page = Page(position=after)
        while True:
            grown = self._grown = self._grown or asyncio.Event()
            more = await self._read_on(page, types, limit)
            left = until - clock()
            if page.events or more or left <= 0:
                return page
            with contextlib.suppress(TimeoutError):
                # Another replica may have added one, so look again soon in any case.
                async with asyncio.timeout(min(left, _LOOK)):
                    await grown.wait()

    async def _read_on(self, page: Page, types: frozenset[str], limit: int) -> bool:
        """Read some chunks into a page; whether there is more to be read at once."""
        first, last = page.position // _STRIDE, await self._last()
        numbers = range(first, min(last + 1, first + _READ))
        items = await self._app.running.ports.state.get_many([_key(number) for number in numbers])
        for number in numbers:
            item = items.get(_key(number))
            if item is None:
                page.gone = page.gone or page.position > 0
            events = _Chunk.model_validate(item.value).events if item else []
            for place in range(page.position % _STRIDE, len(events)):
                page.position = number * _STRIDE + place + 1
                if not types or types & event_types(events[place]):
                    page.events.append(StreamedEvent(position=page.position, message=events[place]))
                if len(page.events) == limit:
                    return True
            if number < last or item is None:
                page.position = (number + 1) * _STRIDE
        return numbers.stop <= last

    async def _write(self, _: str, messages: list[Message]) -> None:
        state = self._app.running.ports.state
        while messages:
            number = await self._last()
            item = await state.get(_key(number))
            if item is None:  # the first of all, or forgotten by the store
                await self._advance(number)
                continue
            chunk = _Chunk.model_validate(item.value)
            left = [message for message in messages if not chunk.add(message)]
            if len(left) < len(messages):
                value = chunk.model_dump(mode="json")
                try:
                    await state.write(Write(_key(number), value, etag=item.etag, ttl=_KEPT))
                except ConflictError:
                    continue
            messages[:] = left
            if messages:
                await self._advance(number)

    async def _advance(self, number: int) -> None:
        """Go on to the chunk after that one."""
        empty = _Chunk().model_dump(mode="json")
        with contextlib.suppress(ConflictError):  # another replica goes on as well
            await self._app.running.ports.state.write(Write(_key(number + 1), empty, create=True, ttl=_KEPT))

        def advanced(head: Any) -> JsonValue:
            return {"last": number + 1} if head is None or head["last"] == number else None

        await update(self._app.running.ports.state, _HEAD, advanced)

    async def _last(self) -> int:
        item = await self._app.running.ports.state.get(_HEAD)
        return int(item.value["last"]) if item else -1

    async def _end(self) -> int:
        last = await self._last()
        item = await self._app.running.ports.state.get(_key(last))
        if item is None:  # there was none yet, or it is forgotten by the store
            return (last + 1) * _STRIDE
        return last * _STRIDE + len(_Chunk.model_validate(item.value).events)

    def _router(self) -> APIRouter:
        router = APIRouter()

        @router.get("/events")
        async def events(
            after: Annotated[int | None, Query(ge=0)] = None,
            types: Annotated[frozenset[str], Query()] = frozenset(),
            limit: Annotated[int, Query(ge=1, le=1000)] = 100,
            wait: float = 0,
        ) -> Page:
            """Events of those types after a position, waiting up to `wait` seconds for one."""
            return await self.read(after, types, limit, min(wait, 30))

        return router


def _key(number: int) -> str:
    return f"{_HEAD}:{number}"
