"""The sidecar's HTTP API: one pooled session for everything that is not workflow or model."""

import asyncio
import contextlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from pydantic import SecretStr
from pydantic_core import from_json, to_json

from dovecote.classes import NEWS, PUBSUB, URGENT
from dovecote.errors import DovecoteError, UnavailableError
from dovecote.guard import TOKEN
from dovecote.traces import carried

STATESTORE: Final = "statestore"
CLAIMS: Final = "claims"
MODEL: Final = "llm"
COMPONENTS: Final = (PUBSUB, URGENT, NEWS, STATESTORE, CLAIMS, MODEL)

_POLL: Final = 0.05
_WRONG_TOKEN: Final = b"invalid api token"  # what the sidecar says itself; an app would say it as a problem


class Sidecar:
    """Requests to the sidecar at a port of this host, over connections that all share.

    There are as many as are in use at once, or at most `connections` if that is not 0: who finds none free waits.
    One that is not used is kept for `idle` seconds.
    """

    def __init__(self, http_port: int, token: SecretStr, *, connections: int = 0, idle: float = 15.0) -> None:
        self._base = f"http://127.0.0.1:{http_port}"
        self.credentials = {TOKEN: token.get_secret_value()} if token else {}
        pool = aiohttp.TCPConnector(limit=connections, keepalive_timeout=idle)
        self._session = aiohttp.ClientSession(connector=pool)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def request(
        self,
        verb: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        limit: float = 60.0,
    ) -> tuple[int, bytes]:
        """Status and body of one call; UnavailableError when the sidecar itself cannot be reached.

        `body` is JSON as bytes, or what becomes JSON. `limit` is in seconds.
        """
        if self._session.closed:  # for which aiohttp has no error of its own
            raise UnavailableError(f"the app has ended, and so has what it asks of {self._base}")
        data = body if body is None or isinstance(body, bytes) else to_json(body)
        sent = {"content-type": "application/json", **self.credentials, **carried(), **(headers or {})}
        try:
            async with self._session.request(
                verb, self._base + path, data=data, headers=sent, timeout=aiohttp.ClientTimeout(total=limit)
            ) as response:
                status, answer = response.status, await response.read()
        except TimeoutError as error:
            raise UnavailableError(f"{path} did not answer within {limit:g} s") from error
        except aiohttp.ClientError as error:
            raise UnavailableError(f"the sidecar at {self._base} does not answer: {error}") from error
        if status == HTTPStatus.UNAUTHORIZED and answer.strip() == _WRONG_TOKEN:
            raise UnavailableError(f"{path}: the sidecar has another DAPR_API_TOKEN than the app")
        return status, answer

    async def metadata(self) -> dict[str, Any]:
        """What the sidecar has loaded: components, subscriptions, workers."""
        status, body = await self.request("GET", "/v1.0/metadata", limit=5)
        if status != HTTPStatus.OK:
            raise failure("reading the sidecar's metadata", status, body)
        metadata: dict[str, Any] = from_json(body)
        return metadata

    async def component_types(self) -> dict[str, str]:
        """The types of the components that are loaded now, by their names."""
        return {row["name"]: row["type"] for row in (await self.metadata()).get("components", [])}

    async def component_type(self, name: str) -> str:
        """The type of a component, waiting until the sidecar has loaded it."""
        while True:
            with contextlib.suppress(UnavailableError):
                if kind := (await self.component_types()).get(name):
                    return kind
            await asyncio.sleep(_POLL)

    async def shut_down(self) -> None:
        """Ask the sidecar to end, in order; whoever started it starts it again."""
        status, body = await self.request("POST", "/v1.0/shutdown", limit=5)
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            raise failure("ending the sidecar", status, body)

    async def wait_until_healthy(self) -> None:
        """Return when the sidecar takes calls."""
        while True:
            try:
                status, _ = await self.request("GET", "/v1.0/healthz/outbound", limit=5)
                if status < HTTPStatus.MULTIPLE_CHOICES:
                    return
            except UnavailableError:
                pass
            await asyncio.sleep(_POLL)


def failure(what: str, status: int, body: bytes) -> DovecoteError:
    """The error of a call to the sidecar that did not succeed."""
    text = body[:500].decode(errors="replace")
    return UnavailableError(f"{what}: the sidecar answered {status}: {text}")
