"""The bus, as apps use it: publish, send, broadcast, ask and subscribe, the same over Dapr and in memory."""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypedDict, TypeVar, Unpack

from pydantic import JsonValue, ValidationError

from dovecote import topics
from dovecote.errors import CommandRejectedError, ConfigurationError, InvalidInputError
from dovecote.inbox import OrderKey, Responder, Route, Routes, Turns
from dovecote.mailbox import REFUSED, Mailbox
from dovecote.messages import DeliveryMode, Message, MessageType, Priority, now
from dovecote.problems import faults
from dovecote.requests import AcceptedCommand, Exchange, error_in
from dovecote.streaming import EventStream, Start

if TYPE_CHECKING:
    from dovecote.app import App

R = TypeVar("R", bound=Responder)


class Envelope(TypedDict, total=False):
    """What may be said of a message beside its content: fields of `Message`."""

    id: str
    type: MessageType
    priority: Priority
    ttl: float
    deadline: datetime
    correlation_id: str
    causation_id: str
    conversation_id: str
    reply_to: str
    idempotency_key: str
    order_key: str
    delivery: DeliveryMode
    max_attempts: int
    encoding: Literal["base64"]
    metadata: dict[str, str]


class Bus:
    """The bus of one app, which is the sender of what it makes: `app.bus`.

    What goes out is a `Message`, or JSON content of which one is made; `Envelope` has its other fields. Each method
    returns when the broker has taken the message, and raises UnavailableError where it does not, TooLargeError
    for one over the broker's limit, InvalidInputError for fields that do not fit.
    """

    def __init__(self, app: "App") -> None:
        self._app = app
        self._by_topic: dict[str, Routes] = {}

    async def publish(self, topic: str, what: Message | JsonValue, **fields: Unpack[Envelope]) -> Message:
        """Publish to a topic; returns the message. Its type is event if nothing is said."""
        message = self._message(what, MessageType.EVENT, fields)
        await self._app.running.ports.bus.publish(topic, message)
        return message

    async def send(self, recipient: str, what: Message | JsonValue, **fields: Unpack[Envelope]) -> Message:
        """Send to one app, into its inbox; returns the message. Its type is notification if nothing is said."""
        message = self._message(what, MessageType.NOTIFICATION, fields, recipient=recipient)
        await self._app.running.ports.bus.publish(topics.inbox(recipient), message)
        return message

    async def broadcast(self, what: Message | JsonValue, **fields: Unpack[Envelope]) -> Message:
        """Send to every app that takes messages; returns the message. Its type is event if nothing is said."""
        message = self._message(what, MessageType.EVENT, fields, recipient=None)
        await self._app.running.ports.bus.publish(topics.BROADCAST, message)
        return message

    async def publish_batch(
        self, topic: str, batch: Sequence[Message | JsonValue], **fields: Unpack[Envelope]
    ) -> list[Message]:
        """Publish several to a topic in few calls; returns the messages.

        BatchError has, in `failed`, the reason of each that was not taken, by its id; all others were taken.
        If one is over the broker's limit, none is sent.
        """
        messages = [self._message(what, MessageType.EVENT, fields) for what in batch]
        await self._app.running.ports.bus.publish_batch(topic, messages)
        return messages

    async def get_messages(self, limit: int = 10, types: Iterable[MessageType] = ()) -> list[Message]:
        """Messages that wait in the app's mailbox; see `Mailbox.get_messages`."""
        return await self._mailbox().get_messages(limit, types)

    async def receive(self, timeout: float = 0.0, types: Iterable[MessageType] = ()) -> Message | None:  # noqa: ASYNC109 - None at its end, no error
        """The next message of the app's mailbox, or None; see `Mailbox.receive`."""
        return await self._mailbox().receive(timeout, types)

    async def acknowledge(self, message_id: str) -> None:
        """Say that a message from the mailbox was handled; see `Mailbox.acknowledge`."""
        await self._mailbox().acknowledge(message_id)

    async def nack(
        self, message_id: str, *, requeue: bool = True, reason: str = REFUSED, delay: float = 0.0
    ) -> None:
        """Give a message from the mailbox back, or to the dead letters; see `Mailbox.nack`."""
        await self._mailbox().nack(message_id, requeue=requeue, reason=reason, delay=delay)

    def stream(self, types: Iterable[str] = (), *, cursor: str | None = None, start: Start = "end") -> EventStream:
        """Events of those types as they come, for `async for`; see `EventStream`."""
        return EventStream(self._app, types, cursor=cursor, start=start)

    def _mailbox(self) -> Mailbox:
        if self._app.mailbox is None:
            raise ConfigurationError(
                f"app {self._app.name!r} has no mailbox to receive from", mend="make one: Mailbox(app)"
            )
        return self._app.mailbox

    async def request(
        self,
        recipient: str,
        what: Message | JsonValue,
        *,
        timeout: float = 30.0,  # noqa: ASYNC109 - a limit on the whole exchange, of which the recipient is told
        **fields: Unpack[Envelope],
    ) -> Message:
        """The answer of an app to a message, whose type is query if nothing is said.

        It is sent again, same id, until the answer is there. After `timeout` seconds DeadlineError is raised; an
        answer that comes later is discarded, counted in `late_answers`, and logged. If the recipient refuses, its
        error is raised; ConflictError if an answer to its id is waited for already. The app must be made with
        `requests=True`.
        """
        with self._begin(recipient, what, MessageType.QUERY, timeout, fields) as exchange:
            answer = await self._app.requests.until(exchange, exchange.answer)
        if error := error_in(answer):
            raise error
        return answer

    async def command(
        self,
        recipient: str,
        name: str,
        parameters: dict[str, JsonValue] | None = None,
        *,
        timeout: float = 30.0,  # noqa: ASYNC109 - a limit on the whole exchange, of which the recipient is told
        **fields: Unpack[Envelope],
    ) -> AcceptedCommand:
        """Have an app carry out a command; returns when it has accepted it: `outcome` then waits for the result.

        Raises CommandRejectedError, with the schema of what it takes, and else as `request` does. `timeout` is in
        seconds, from now until the outcome. Commands of one `order_key` are accepted in order, and may be carried
        out at the same time: for one after the other, wait for each outcome.
        """
        content: JsonValue = {"command": name, "parameters": parameters or {}}
        with self._begin(recipient, content, MessageType.COMMAND, timeout, fields) as exchange:
            first = await self._app.requests.until(exchange, exchange.first)
        if isinstance(error := error_in(first), CommandRejectedError):
            raise error
        return AcceptedCommand(self._app.requests, exchange)

    @property
    def late_answers(self) -> int:
        """How many answers to this replica's requests, or to others' of its app, came here too late."""
        return self._app.requests.late

    def subscribe(
        self,
        topic: str | None = None,
        *,
        types: Collection[MessageType] = (),
        priorities: Collection[Priority] = (),
        order_key: OrderKey | None = None,
    ) -> Callable[[R], R]:
        """Make the decorated async function the handler of some messages; returns the function itself.

        Without a topic: of those that are addressed to the app, or to everyone; what the function returns is the
        answer to a request. With `types` or `priorities` only of those; the first handler that a message fits gets
        it. What fits none is refused where it is addressed to the app, else ignored. Messages for which `order_key`
        gives the same text are handled one at a time by each replica, in the order they come; while all its
        handlers are busy, a higher priority comes first.
        """

        def add(handler: R) -> R:
            self._routes(topic).add(Route(handler, frozenset(types), frozenset(priorities), Turns(order_key)))
            return handler

        return add

    def _routes(self, topic: str | None) -> Routes:
        if topic in (None, topics.inbox(self._app.name)):
            self._app.inbox.open()
            return self._app.inbox.routes
        if topic not in self._by_topic:
            routes = self._by_topic[topic] = Routes()
            self._app.subscribe(topic)(routes.take)
        return self._by_topic[topic]

    def _begin(
        self, recipient: str, what: Message | JsonValue, kind: MessageType, seconds: float, fields: Envelope
    ) -> AbstractContextManager[Exchange]:
        if not self._app.requests.is_open:
            raise ConfigurationError(
                f"app {self._app.name!r} takes no answers, so it cannot ask {recipient!r}",
                mend=f"write App({self._app.name!r}, requests=True)",
            )
        reply_to = topics.replies(self._app.name)
        asked = self._message(what, kind, fields, recipient=recipient, reply_to=reply_to, sender=self._app.name)
        # Nobody waits for what is handled later.
        deadline = now() + timedelta(seconds=seconds)
        request = asked.model_copy(update={"deadline": min(filter(None, (asked.deadline, deadline)))})
        return self._app.requests.begin(request, seconds, again="id" in fields or isinstance(what, Message))

    def _message(
        self, what: Message | JsonValue, kind: MessageType, fields: Envelope, **more: str | None
    ) -> Message:
        if isinstance(what, Message):
            made = {**what.model_dump(), **fields, **more}
        else:
            made = {"type": kind, "sender": self._app.name, "content": what, **fields, **more}
        try:
            return Message.model_validate(made)
        except ValidationError as error:
            raise InvalidInputError(f"this is no message: {faults(error.errors())}") from error
