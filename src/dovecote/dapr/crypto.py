"""Encryption by the component `crypto`, and secrets.

Over gRPC without the SDK's client, whose constructor waits with blocking calls and which sends 2 KiB at a time.
"""

import re
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import grpc
from dapr.proto import api_service_v1, api_v1, common_v1
from pydantic_core import from_json

from dovecote.dapr.sidecar import Sidecar, failure
from dovecote.errors import ConfigurationError, InvalidInputError, NotFoundError, UnavailableError

CRYPTO: Final = "crypto"
_CHUNK: Final = 64 * 1024
_LIMIT: Final = 60.0  # seconds
_AWAY: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
    }
)
# What the sidecar calls internal as well: it is stopping, or the vault with the key does not answer. A key that is
# not there ends the start (Encryption.check).
_NOT_NOW: Final = re.compile(r"context canceled|deadline|failed to wrap")


class DaprCrypto:
    """Encrypts by Dapr's cryptography API (alpha in 1.18); `algorithm` wraps the key of each message."""

    def __init__(self, sidecar: Sidecar, grpc_port: int, algorithm: str) -> None:
        self._sidecar = sidecar
        self._address = f"127.0.0.1:{grpc_port}"
        self._algorithm = algorithm
        self._channel: grpc.aio.Channel | None = None

    async def close(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            await self._channel.close()

    async def encrypt(self, key_id: str, data: bytes) -> bytes:
        """The data encrypted, with the key's id."""
        options = api_v1.EncryptRequestOptions(
            component_name=CRYPTO, key_name=key_id, key_wrap_algorithm=self._algorithm
        )
        return await self._streamed("EncryptAlpha1", api_v1.EncryptRequest, options, data)

    async def decrypt(self, data: bytes) -> bytes:
        """What was encrypted."""
        options = api_v1.DecryptRequestOptions(component_name=CRYPTO)
        return await self._streamed("DecryptAlpha1", api_v1.DecryptRequest, options, data)

    async def _streamed(self, method: str, request: Any, options: Any, data: bytes) -> bytes:
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._address)
        stub: Any = api_service_v1.DaprStub  # generated without types

        async def pieces() -> AsyncIterator[Any]:
            for number, start in enumerate(range(0, len(data), _CHUNK)):
                piece = common_v1.StreamPayload(data=data[start : start + _CHUNK], seq=number)
                yield request(payload=piece) if number else request(payload=piece, options=options)

        try:
            call = getattr(stub(self._channel), method)(
                pieces(), timeout=_LIMIT, metadata=tuple(self._sidecar.credentials.items())
            )
            return b"".join([answer.payload.data async for answer in call])
        except grpc.aio.AioRpcError as error:
            raise _refusal(error) from error


def _refusal(error: grpc.aio.AioRpcError) -> Exception:
    details = error.details() or ""
    if error.code() in _AWAY or (error.code() is grpc.StatusCode.INTERNAL and _NOT_NOW.search(details)):
        return UnavailableError(f"the sidecar does not encrypt now: {details}")
    if "crypto provider" in details:
        return ConfigurationError(
            f"component {CRYPTO!r}: {details}", mend="add the folder components/crypto to resourcesPaths"
        )
    return InvalidInputError(details)


class DaprSecrets:
    """Secrets of one secret store."""

    def __init__(self, sidecar: Sidecar, store: str) -> None:
        self._sidecar = sidecar
        self._store = store

    async def get(self, name: str) -> str:
        """The secret, or the only value in it; NotFoundError if there is none, or it is empty."""
        status, body = await self._sidecar.request("GET", f"/v1.0/secrets/{quote(self._store)}/{quote(name)}")
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            raise failure(f"reading secret {name!r} of store {self._store!r}", status, body)
        values: dict[str, str] = from_json(body) if body else {}
        found = values.get(name) or (next(iter(values.values())) if len(values) == 1 else "")
        if not found:
            raise NotFoundError(f"there is no secret {name!r} in secret store {self._store!r}")
        return found
