"""The logbook: every handler writes its message in before and after its effect, and is told how to fare.

It lies outside the apps, so what an app had done when it was killed is still known.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, Literal, Protocol

from pydantic import BaseModel, Field

from dovecote import Message
from dovecote.messages import now

_PATIENCE: Final = 240.0  # seconds
Step = Literal["before", "after"]


class Entry(BaseModel):
    """One step of one attempt: which replica of which app, at which topic, with which message."""

    app: str
    replica: str
    topic: str
    step: Step
    message: Message
    at: datetime = Field(default_factory=now)


class Order(BaseModel):
    """What the handler is to do: go on, or raise the error of that class name."""

    error: str = ""
    text: str = ""


class Writes(Protocol):
    """How an app writes into the logbook."""

    async def __call__(self, entry: Entry) -> Order:
        """What the handler is to do now."""


class Hold:
    """Keeps handlers of messages waiting at a step until `release`.

    Those that waited are then told `order`, later ones to go on.
    """

    def __init__(self, app: str, step: Step) -> None:
        self._app = app
        self._step = step
        self._released: asyncio.Future[Order] = asyncio.get_running_loop().create_future()
        self._reached: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()

    async def __call__(self, entry: Entry) -> Order:
        if (entry.app, entry.step) != (self._app, self._step) or self._released.done():
            return Order()
        if not self._reached.done():
            self._reached.set_result(entry)
        return await asyncio.shield(self._released)

    async def entry(self) -> Entry:
        """Who waits; returns as soon as somebody does."""
        return await asyncio.wait_for(asyncio.shield(self._reached), _PATIENCE)

    def release(self, error: str = "") -> None:
        """Let everybody go on; those that waited raise the error of that class name, if one is given."""
        self._released.set_result(Order(error=error, text="kept waiting too long"))


class Logbook:
    """What was handled, by message id; `orders` maps a message id to what its handlers are told."""

    def __init__(self) -> None:
        self.entries: defaultdict[str, list[Entry]] = defaultdict(list)
        self.orders: dict[str, Callable[[Entry], Awaitable[Order]]] = {}

    async def __call__(self, entry: Entry) -> Order:
        self.entries[entry.message.id].append(entry)
        decide = self.orders.get(entry.message.id)
        return await decide(entry) if decide else Order()

    def attempts(self, message: Message, app: str = "alpha") -> list[Entry]:
        """The attempts of an app at a message so far."""
        return [row for row in self.entries[message.id] if (row.app, row.step) == (app, "before")]

    def handled(self, message: Message, app: str = "alpha") -> list[Entry]:
        """The attempts that came past the effect."""
        return [row for row in self.entries[message.id] if (row.app, row.step) == (app, "after")]

    def fail(
        self, message: Message, error: str, text: str, *, app: str = "alpha", times: float = float("inf")
    ) -> None:
        """Make an app's first attempts at a message raise an error."""
        failed = 0

        async def decide(entry: Entry) -> Order:
            nonlocal failed
            if (entry.app, entry.step) != (app, "before") or failed >= times:
                return Order()
            failed += 1
            return Order(error=error, text=text)

        self.orders[message.id] = decide

    def hold(self, *messages: Message, step: Step = "after", app: str = "alpha") -> Hold:
        """Keep an app's handlers of messages waiting at a step."""
        hold = Hold(app, step)
        self.orders.update(dict.fromkeys((message.id for message in messages), hold))
        return hold
