"""Keys and secrets in memory."""

import os
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dovecote.errors import InvalidInputError, NotFoundError

_NONCE: Final = 12


class MemoryCrypto:
    """Encrypts with AES-GCM; `keys` may be changed while it is in use, each has 16, 24 or 32 bytes."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = keys

    async def encrypt(self, key_id: str, data: bytes) -> bytes:
        """The data encrypted, with the key's id; InvalidInputError if there is no such key."""
        nonce = os.urandom(_NONCE)
        return key_id.encode() + b"\n" + nonce + self._key(key_id).encrypt(nonce, data, key_id.encode())

    async def decrypt(self, data: bytes) -> bytes:
        """What was encrypted; InvalidInputError if it was altered, or its key is not there."""
        key_id, _, rest = data.partition(b"\n")
        try:
            return self._key(key_id.decode()).decrypt(rest[:_NONCE], rest[_NONCE:], key_id)
        except (InvalidTag, ValueError) as error:
            raise InvalidInputError("it was altered") from error

    def _key(self, key_id: str) -> AESGCM:
        if key_id not in self._keys:
            raise InvalidInputError(f"there is no key {key_id!r}")
        return AESGCM(self._keys[key_id])


class MemorySecrets:
    """A secret store; `values` may be changed while it is in use."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    async def get(self, name: str) -> str:
        """The secret; NotFoundError if there is none."""
        if not self._values.get(name):
            raise NotFoundError(f"there is no secret {name!r}")
        return self._values[name]
