"""The tap: shows who looks on what an app sends and is handed, and has no part in it.

It is in the app and not on the broker: so it is the same on every broker, takes no message from a consumer, leaves
nothing behind where it looked, and cannot hold up what it looks at.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, JsonValue

from dovecote.errors import InvalidInputError, NotFoundError
from dovecote.messages import Message
from dovecote.ports import Handler, Publisher
from dovecote.topics import Pattern, fits

_WAITING: Final = 1000  # messages that one who looks on may be behind


class Sighting(BaseModel):
    """A message that an app has sent to a topic, or that was handed to it from there.

    `missed` is how many came before this one that were not shown, since who looks on is too slow.
    """

    topic: str
    sent: bool
    message: Message
    missed: int = 0


class Watcher:
    """One who looks on at the topics that fit a pattern; iterate over it for what is seen."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = patterns
        self._waiting: asyncio.Queue[Sighting | None] = asyncio.Queue()
        self._missed = 0

    def show(self, sighting: Sighting) -> None:
        """Take what was seen, if it fits."""
        if not any(fits(pattern, sighting.topic) for pattern in self._patterns):
            return
        if self._waiting.qsize() < _WAITING:
            self._waiting.put_nowait(sighting.model_copy(update={"missed": self._missed}))
            self._missed = 0
        else:
            self._missed += 1

    def end(self) -> None:
        """Let the iteration end after what is there already."""
        self._waiting.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[Sighting]:
        while (sighting := await self._waiting.get()) is not None:
            yield sighting


class Tap:
    """The watchers of one app. While there is none, it does nothing."""

    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()

    @contextmanager
    def watched(self, patterns: Sequence[str]) -> Iterator[Watcher]:
        """Look on while the block runs."""
        watcher = Watcher(patterns)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    def end(self) -> None:
        """Send away all who look on, since the app ends."""
        for watcher in self._watchers:
            watcher.end()

    def show(self, topic: str, messages: Iterable[Message], *, sent: bool) -> None:
        """Show what was sent to a topic or handed to the app from there."""
        for message in messages if self._watchers else ():
            sighting = Sighting(topic=topic, sent=sent, message=message)
            for watcher in self._watchers:
                watcher.show(sighting)

    def show_content(self, topic: str, content: JsonValue) -> None:
        """Show bare content that was sent, as far as it can be read as a message."""
        if self._watchers:
            with suppress(InvalidInputError):
                self.show(topic, [Message.from_cloudevent(content)], sent=True)

    def handler(self, topic: str, handler: Handler) -> Handler:
        """The handler of a topic, with what it is given being shown."""

        async def shown(message: Message) -> None:
            self.show(topic, [message], sent=False)
            await handler(message)

        return shown

    def router(self) -> APIRouter:
        """The route `GET /tap`: what is seen from now on, as server-sent events."""
        router = APIRouter(tags=["tap"])

        async def watching(
            request: Request,
            topic: Annotated[list[Pattern] | None, Query()] = None,
            dapr_caller_app_id: Annotated[str, Header()] = "",
        ) -> AsyncIterator[Watcher]:
            local = request.client is not None and ip_address(request.client.host).is_loopback
            if dapr_caller_app_id or not local:
                # Whoever reaches the port, or any app through the sidecar, could read what it may not subscribe to.
                raise NotFoundError(
                    "the tap is not for other apps, nor for other machines", mend="subscribe to the topics"
                )
            with self.watched(topic or ["#"]) as watcher:
                yield watcher

        @router.get("/tap", response_class=EventSourceResponse)
        async def tap(watcher: Annotated[Watcher, Depends(watching)]) -> AsyncIterator[ServerSentEvent]:
            """What the app sends and is handed on topics that fit; + is one level, # at the end all that follow."""
            async for sighting in watcher:
                yield ServerSentEvent(data=sighting)

        return router


class TappedBus:
    """A bus with a tap: what it has taken is shown."""

    def __init__(self, bus: Publisher, tap: Tap) -> None:
        self._bus = bus
        self._tap = tap

    async def publish(self, topic: str, message: Message) -> None:
        """Publish one."""
        await self._bus.publish(topic, message)
        self._tap.show(topic, [message], sent=True)

    async def publish_batch(self, topic: str, messages: Sequence[Message]) -> None:
        """Publish several."""
        await self._bus.publish_batch(topic, messages)
        self._tap.show(topic, messages, sent=True)

    async def publish_content(self, topic: str, content: dict[str, JsonValue]) -> None:
        """Publish a bare JSON object."""
        await self._bus.publish_content(topic, content)
        self._tap.show_content(topic, content)
