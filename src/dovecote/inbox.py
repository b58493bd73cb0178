"""The inbox: messages that are addressed to an app, or to everyone, and what it does with each.

A handler's result is the answer where the sender waits for one. A request that comes again, since its sender has no
answer yet, is not handled again: it gets the answer that was kept, or the news that it is being worked on.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue
from pydantic_core import PydanticSerializationError, to_jsonable_python

from dovecote import topics
from dovecote.errors import (
    CommandRejectedError,
    ConfigurationError,
    DovecoteError,
    Reject,
    ToolError,
    is_retryable,
)
from dovecote.messages import Message, MessageType, Priority
from dovecote.once import Once
from dovecote.results import Failure, answer, refusal

if TYPE_CHECKING:
    from dovecote.app import App

Responder = Callable[[Message], Awaitable[Any]]
OrderKey = Callable[[Message], str | None]


class Turns:
    """Lets messages of one key have their turn one after the other, in the order they came to this replica."""

    def __init__(self, key: OrderKey | None = None) -> None:
        self._key = key
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiting: Counter[str] = Counter()

    @asynccontextmanager
    async def turn(self, message: Message) -> AsyncIterator[None]:
        """The block runs when it is the message's turn; at once if it has no key."""
        key = self._key(message) if self._key else None
        if key is None:
            yield
            return
        self._waiting[key] += 1
        try:
            async with self._locks.setdefault(key, asyncio.Lock()):
                yield
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key], self._locks[key]


@dataclass(frozen=True)
class Route:
    """A handler, and which messages are for it: all types and priorities where none are given.

    `answers` is whether what it returns is the answer to a request; else it sees to that itself.
    """

    handler: Responder
    types: Collection[MessageType] = ()
    priorities: Collection[Priority] = ()
    turns: Turns = field(default_factory=Turns)
    answers: bool = True

    def fits(self, message: Message) -> bool:
        """Whether a message is for this handler."""
        wanted = not self.types or message.type in self.types
        return wanted and (not self.priorities or message.priority in self.priorities)

    async def __call__(self, message: Message) -> Any:
        """Handle a message in its turn."""
        async with self.turns.turn(message):
            return await self.handler(message)


class Routes:
    """The handlers of one topic: a message is for the first that it fits, in the order they were given."""

    def __init__(self) -> None:
        self._routes: list[Route] = []

    def add(self, route: Route, *, first: bool = False) -> None:
        """Add one; it comes after the others, or before them."""
        self._routes.insert(0 if first else len(self._routes), route)

    def find(self, message: Message) -> Route | None:
        """The handler of a message, if there is one."""
        return next((route for route in self._routes if route.fits(message)), None)

    async def take(self, message: Message) -> None:
        """Handle a message; one that is for none of the handlers is not wanted, and gone."""
        if route := self.find(message):
            await route(message)


class Inbox:
    """What one app does with messages that are addressed to it."""

    def __init__(self, app: "App") -> None:
        self._app = app
        self.routes = Routes()
        self.is_open = False

    def open(self) -> None:
        """Have the app take messages that are addressed to it, and to everyone; before it starts."""
        if self.is_open:
            return
        topic = topics.inbox(self._app.name)
        if any(subscription.topic == topic for subscription in self._app.subscriptions):
            raise ConfigurationError(
                f"app {self._app.name!r} subscribes to {topic!r} itself",
                mend="give `bus.subscribe` no topic, which is that one",
            )
        self.is_open = True
        self._app.subscribe(topic)(self.take)
        self._app.subscribe(topics.BROADCAST)(self.take_broadcast)

    async def take_broadcast(self, message: Message) -> None:
        """Handle a message that is for everyone; an app does not hear itself."""
        if message.sender != self._app.name:
            await self.routes.take(message)

    async def take(self, message: Message) -> None:
        """Handle a message that is for this app. Raises Reject for one that no handler takes; who asks is told."""
        route = self.routes.find(message)
        if route is None:
            text = f"app {self._app.name!r} has no handler for {message.type.value} {message.id!r} "
            text += f"of priority {message.priority.name} from {message.sender!r}"
            if message.reply_to:
                error = CommandRejectedError(text) if message.type is MessageType.COMMAND else Reject(text)
                told = refusal(message, error, sender=self._app.name)
                await self._app.running.ports.bus.publish(message.reply_to, told)
            raise Reject(text)
        if message.reply_to is None or not route.answers:
            await route(message)
        else:
            await self._answer(message, route)

    async def _answer(self, request: Message, route: Route) -> None:
        """Answer a request, which is handled once; while that is done elsewhere, say that it is under way."""

        async def work() -> JsonValue:
            return await _result(route, request)

        bus, name, reply_to = self._app.running.ports.bus, self._app.name, str(request.reply_to)
        done = await Once(self._app.running.ports.state).do(outcome_key(request), work)
        if done is None:
            await bus.publish(reply_to, request.accepted(sender=name))
            return
        await bus.publish(reply_to, answer(request, done.value, sender=name))


def outcome_key(request: Message) -> str:
    """Under which key the state of an app has the outcome of a request or a command, once it is done."""
    return f"request:{request.identity}"


async def _result(route: Route, request: Message) -> JsonValue:
    """What a handler gives, or why it refuses; only what is worth another try is raised."""
    try:
        value = await route(request)
        return {"result": to_jsonable_python(value)}
    except PydanticSerializationError as error:
        failure = Failure(type=ToolError.__name__, message=f"the answer is not JSON: {error}")
    except DovecoteError as error:
        if is_retryable(error):
            raise
        failure = Failure.of(error)
    return {"error": failure.model_dump(mode="json")}
