"""The bus, as apps use it: publish, send and broadcast, the same over Dapr and in memory."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from pydantic import JsonValue, ValidationError

from dovecote import topics
from dovecote.errors import ConfigurationError, InvalidInputError
from dovecote.mailbox import REFUSED, Mailbox
from dovecote.messages import Message, MessageType, Priority
from dovecote.problems import faults

if TYPE_CHECKING:
    from dovecote.app import App


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

    def _mailbox(self) -> Mailbox:
        if self._app.mailbox is None:
            raise ConfigurationError(
                f"app {self._app.name!r} has no mailbox to receive from", mend="make one: Mailbox(app)"
            )
        return self._app.mailbox

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
