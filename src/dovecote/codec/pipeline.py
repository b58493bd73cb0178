"""The order of the stages, there and back."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

from pydantic import JsonValue
from pydantic_core import to_json

from dovecote import topics
from dovecote.codec.bodies import DATA_ENCODING, DATA_REF, Event, body_of, encodings_of
from dovecote.codec.claims import Claims
from dovecote.codec.signing import ATTRIBUTES, SIGNATURE, Signing
from dovecote.errors import DovecoteError, InvalidInputError
from dovecote.messages import Message
from dovecote.ports import Subscription
from dovecote.topics import Capabilities

_SEALED: Final = "sealed:"
_KEPT: Final = (DATA_ENCODING, DATA_REF, "datacontenttype", *ATTRIBUTES)


class Stage(Protocol):
    """One thing that is done to the body of an event, and undone."""

    async def check(self) -> None:
        """Raise ConfigurationError if the stage lacks something."""

    async def encode(self, event: Event) -> Event:
        """The event with its body transformed, or as it is where the stage has nothing to do."""

    async def decode(self, event: Event) -> Event:
        """The event with its body as it was, if it was this stage that transformed it last."""


class Codec:
    """Turns an app's messages into what is published, and back. `claim_over` is in bytes; 0: the broker's limit."""

    def __init__(
        self,
        stages: Sequence[Stage] = (),
        claims: Claims | None = None,
        *,
        app_id: str = "",
        signing: Signing | None = None,
        claim_over: int = 0,
    ) -> None:
        self.app_id = app_id
        self._stages = stages
        self._claims = claims
        self._signing = signing
        self._claim_over = claim_over

    async def encode(self, broker: Capabilities, topic: str, message: Message) -> bytes:
        """The event to publish, as JSON. Raises TooLargeError for one that cannot be made small enough.

        A dead letter of another's message is not signed: nobody can sign for another.
        """
        event = message.to_cloudevent()
        if message.encoding:
            body_of(event)  # refused here if it is not what it says, and not by each receiver
        if self._signing and (topic != topics.DEAD_LETTERS or message.sender == self.app_id):
            event = await self._signing.encode(event, message)
        for stage in self._stages:
            event = await stage.encode(event)
        wire = to_json(event)
        limit = min(self._claim_over or broker.max_message_bytes, broker.max_message_bytes)
        if self._claims and len(wire) > limit:
            wire = to_json(await self._claims.encode(event, topic, message))
        broker.check_size(topic, message.id, len(wire))
        return wire

    async def decode(self, subscription: Subscription, event: JsonValue) -> Message:
        """The message in what was delivered. Raises InvalidInputError for what is none, or cannot be opened.

        A dead letter whose body is kept elsewhere or cannot be opened is handed over as it is, with what a later
        `reopen` needs in its metadata: so it may be handed in again, and is never refused a second time.
        """
        dead = subscription.topic == topics.DEAD_LETTERS
        opened: Any = event
        if isinstance(event, dict) and "specversion" in event:
            opened = await self._as_it_came(event) if dead else await self._opened(event)
        message = Message.from_cloudevent(opened, default_type=subscription.default_type)
        attributes = opened if isinstance(opened, dict) and "specversion" in opened else {}
        if dead:
            return _sealed(message, attributes)
        if self._signing:
            await self._signing.verify_sender(message, attributes, topic=subscription.topic)
        return message

    async def reopen(self, message: Message) -> Message:
        """The message of a dead letter as it was sent; InvalidInputError where it cannot be opened."""
        event = await self._opened(_outgoing(message))
        opened = Message.from_cloudevent(event, default_type=message.type)
        if self._signing:
            await self._signing.verify_sender(opened, event)
        return opened

    async def missing(self) -> list[str]:
        """What keeps messages from being encoded or decoded, such as a key that is not there."""
        checks = [stage.check for stage in self._stages]
        if self._signing:
            checks.append(self._signing.check)
        return [text for check in checks if (text := await _fault(check))]

    async def _opened(self, event: Event) -> Event:
        if self._claims:
            event = await self._claims.decode(event)
        for stage in reversed(self._stages):
            event = await stage.decode(event)
        if left := encodings_of(event):
            raise InvalidInputError(f"event {event.get('id')!r} has data of unknown encoding {left[-1]!r}")
        return event

    async def _as_it_came(self, event: Event) -> Event:
        if DATA_REF in event:
            return event
        try:
            return await self._opened(event)
        except DovecoteError:  # `reopen` may do it later
            return event


PLAIN: Final = Codec()
"""Messages as they are."""


async def _fault(check: Callable[[], Awaitable[None]]) -> str:
    try:
        await check()
    except DovecoteError as error:
        return f"{error} ({error.mend})" if error.mend else str(error)
    return ""


def _sealed(message: Message, event: Event) -> Message:
    """A message with what its event says of a body that is not opened, and its sender's signature.

    Names that are kept for that are taken from the event only: in the metadata anybody may have set them.
    """
    metadata = {name: value for name, value in message.metadata.items() if not name.startswith(_SEALED)}
    if {DATA_REF, DATA_ENCODING, SIGNATURE} & event.keys():
        metadata |= {_SEALED + name: str(event[name]) for name in _KEPT if name in event}
    return message.model_copy(update={"metadata": metadata})


def _outgoing(message: Message) -> Event:
    """The event that a dead letter came from."""
    kept = {name: message.metadata[_SEALED + name] for name in _KEPT if _SEALED + name in message.metadata}
    metadata = {name: value for name, value in message.metadata.items() if not name.startswith(_SEALED)}
    return message.model_copy(update={"metadata": metadata}).to_cloudevent() | kept
