"""Signatures: who is named as the sender of a message has sent it, as it is, and not long ago.

Ed25519 (RFC 8032) over the canonical JSON (RFC 8785) of all fields of the message, the key's id and the time of
signing. Not signed are the topic, so that a dead letter can be handed in again with its sender's signature, and
what sidecars add on the way.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import rfc8785
from cryptography.exceptions import InvalidSignature

from dovecote.codec.bodies import Event
from dovecote.codec.keys import KeyRing
from dovecote.errors import InvalidInputError, UnverifiedError
from dovecote.messages import Message, now
from dovecote.topics import fits

SIGNATURE: Final = "signature"
KEY_ID: Final = "keyid"
SIGNED_AT: Final = "signedat"
ATTRIBUTES: Final = (SIGNATURE, KEY_ID, SIGNED_AT)
"""The attributes of an event that a signature adds."""
_SKEW: Final = 60.0  # seconds that clocks may differ


class Signing:
    """Signs what an app sends and, with `require`, refuses what its sender did not sign within `window` seconds.

    On topics that fit one of `unsigned`, what has no signature is taken all the same: of clients without Dovecote.
    """

    def __init__(  # noqa: PLR0913 - each is one plain choice of the settings
        self,
        app_id: str,
        keys: KeyRing,
        *,
        require: bool,
        window: float,
        unsigned: Sequence[str] = (),
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._app_id = app_id
        self._keys = keys
        self._require = require
        self._window = window
        self._unsigned = unsigned
        self._clock = clock

    async def check(self) -> None:
        """Raise ConfigurationError if a key is missing."""
        await self._keys.check()

    async def encode(self, event: Event, message: Message) -> Event:
        """The event of a message with a signature. Raises InvalidInputError for a message of another sender."""
        if message.sender != self._app_id:
            raise InvalidInputError(
                f"message {message.id!r} is from {message.sender!r}, and {self._app_id!r} cannot sign for another",
                mend=f"publish it with the sender {self._app_id!r}",
            )
        key_id, key = await self._keys.own()
        signed_at = self._clock().isoformat()
        signature = key.sign(_signed(message, key_id, signed_at))
        return {**event, SIGNATURE: base64.b64encode(signature).decode(), KEY_ID: key_id, SIGNED_AT: signed_at}

    async def verify_sender(self, message: Message, event: Event, *, topic: str | None = None) -> None:
        """Raise UnverifiedError unless the sender of a message has signed it as it is.

        `topic` is where it was delivered; without one, as for a dead letter that somebody hands in again, any time
        of signing will do.
        """
        if not self._require:
            return
        if topic and not event.keys() & set(ATTRIBUTES) and any(fits(one, topic) for one in self._unsigned):
            return
        signature, key_id, signed_at = (str(event.get(name) or "") for name in ATTRIBUTES)
        if not (signature and key_id and signed_at):
            raise UnverifiedError(
                f"message {message.id!r}, which says that it is from {message.sender!r}, is not signed"
            )
        known = await self._keys.known(key_id)
        if known is None:
            raise UnverifiedError(
                f"message {message.id!r} is signed with key {key_id!r}, which no app is known by",
                mend="add its public part to the set of keys",
            )
        owner, key = known
        try:
            key.verify(_exact(signature), _signed(message, key_id, signed_at))
        except (InvalidSignature, InvalidInputError) as error:
            raise UnverifiedError(f"message {message.id!r} is not what {owner!r} signed: it was altered") from error
        if owner != message.sender:
            raise UnverifiedError(
                f"message {message.id!r} is signed by {owner!r}, and says that it is from {message.sender!r}"
            )
        if topic is not None:
            self._check_time(message, signed_at)

    def _check_time(self, message: Message, signed_at: str) -> None:
        try:
            age = (self._clock() - datetime.fromisoformat(signed_at)).total_seconds()
        except (TypeError, ValueError) as error:
            raise UnverifiedError(
                f"message {message.id!r} was signed at {signed_at!r}, which is no time with a zone"
            ) from error
        if age > self._window:
            raise UnverifiedError(
                f"message {message.id!r} was signed {age:,.0f} s ago: it is replayed, or was over "
                f"{self._window:,.0f} s on its way",
                mend="raise DOVECOTE_SIGNATURE_WINDOW if messages wait longer for their receivers",
            )
        if age < -_SKEW:
            raise UnverifiedError(
                f"message {message.id!r} was signed {-age:,.0f} s from now", mend="set the clocks"
            )


def _signed(message: Message, key_id: str, signed_at: str) -> bytes:
    """What is signed. Raises InvalidInputError for what has no canonical form, as a number that JSON rounds."""
    fields: dict[str, Any] = message.model_dump(mode="json", exclude_none=True)
    for name in ("timestamp", "deadline"):
        if (time := getattr(message, name)) is not None:
            fields[name] = time.astimezone(UTC).isoformat()
    try:
        return rfc8785.dumps({**fields, KEY_ID: key_id, SIGNED_AT: signed_at})
    except rfc8785.CanonicalizationError as error:
        raise InvalidInputError(f"message {message.id!r} cannot be signed: {error}") from error


def _exact(signature: str) -> bytes:
    """The bytes of a signature, of which there is one text only."""
    try:
        decoded = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError("the signature is not base64") from error
    if base64.b64encode(decoded).decode() != signature:
        raise InvalidInputError("the signature is not base64 as it is written")
    return decoded
