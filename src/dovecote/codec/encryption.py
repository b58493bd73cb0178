"""Encryption: what a message says is hidden from the broker and the claim store; who it is for is not.

By Dapr's cryptography building block: keys stay in the sidecar, and what is encrypted names its key, so that what
was encrypted with an older one is still read while the component has that.
"""

from typing import Final

from dovecote.codec.bodies import Event, body_of, encodings_of, with_body
from dovecote.errors import ConfigurationError, InvalidInputError, UnavailableError
from dovecote.ports import Crypto

ENCRYPTED: Final = "encrypted"
_KEY: Final = "encryptionkeyid"


class Encryption:
    """Encrypts bodies with the key of that id, none if it is empty, and decrypts whatever is encrypted."""

    def __init__(self, crypto: Crypto, key_id: str) -> None:
        self._crypto = crypto
        self._key_id = key_id
        self._checked = not key_id

    async def check(self) -> None:
        """Raise ConfigurationError if nothing can be encrypted with the key."""
        if self._checked:
            return
        try:
            await self._crypto.encrypt(self._key_id, b"?")
        except (InvalidInputError, UnavailableError) as error:
            raise ConfigurationError(
                f"nothing can be encrypted with key {self._key_id!r}: {error}",
                mend="add the key to the component `crypto`, or leave DOVECOTE_ENCRYPTION_KEY empty",
            ) from error
        self._checked = True

    async def encode(self, event: Event) -> Event:
        """The event with an encrypted body; one that is empty stays as it is."""
        if not self._key_id:
            return event
        body = body_of(event)
        if not body:
            return event
        hidden = await self._crypto.encrypt(self._key_id, body)
        return with_body({**event, _KEY: self._key_id}, hidden, [*encodings_of(event), ENCRYPTED])

    async def decode(self, event: Event) -> Event:
        """The event as it was; InvalidInputError if it was altered, or its key is not there any more."""
        if encodings_of(event)[-1:] != [ENCRYPTED]:
            return event
        try:
            body = await self._crypto.decrypt(body_of(event))
        except InvalidInputError as error:
            raise InvalidInputError(
                f"event {event.get('id')!r} cannot be decrypted with key {event.get(_KEY)!r}: {error}",
                mend="keep an old key in the component `crypto` while messages of it are about",
            ) from error
        rest = {name: value for name, value in event.items() if name != _KEY}
        return with_body(rest, body, encodings_of(event)[:-1])
