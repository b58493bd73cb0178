"""State on a state component: `statestore`, or another whose name is given.

Through the HTTP API: the SDK's transaction has no per-write concurrency, which `create` needs.
"""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from pydantic_core import from_json

from dovecote.dapr.sidecar import STATESTORE, Sidecar, failure
from dovecote.errors import ConflictError
from dovecote.ports import Item, Write, check_conditions

# What a store answers when a condition does not hold; with `create` some say it only in the text of a 500.
_CONFLICT = re.compile(rb"possible etag mismatch|user_script:\d+: failed to set key")

# A time to live that ends an earlier one: a store may keep that over a write without any.
_FOR_GOOD = -1


class DaprState:
    """JSON values under the keys of a component, which are this app's own if that says nothing else."""

    def __init__(self, sidecar: Sidecar, component: str = STATESTORE) -> None:
        self._sidecar = sidecar
        self._path = f"/v1.0/state/{component}"

    async def get(self, key: str) -> Item | None:
        """The value, or None."""
        return (await self.get_many([key])).get(key)

    async def get_many(self, keys: Sequence[str]) -> dict[str, Item]:
        """Those of the keys that exist."""
        if not keys:
            return {}
        status, body = await self._sidecar.request(
            "POST", f"{self._path}/bulk", {"keys": list(keys), "parallelism": 10}
        )
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            raise failure("reading state", status, body)
        rows: list[dict[str, Any]] = from_json(body)
        for row in rows:
            if row.get("error"):
                raise failure(f"reading {row['key']!r}", status, str(row["error"]).encode())
        return {row["key"]: Item(row["data"], row.get("etag", "")) for row in rows if row.get("data") is not None}

    async def write(self, *writes: Write) -> None:
        """Write all or nothing; ConflictError if an ETag or `create` does not hold."""
        check_conditions(writes)
        if len(writes) == 1:
            status, body = await self._sidecar.request("POST", self._path, [_upsert(writes[0])])
        else:
            operations = [{"operation": "upsert", "request": _upsert(write)} for write in writes]
            status, body = await self._sidecar.request(
                "POST", f"{self._path}/transaction", {"operations": operations}
            )
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            if _is_conflict(status, body):
                raise ConflictError(f"somebody else wrote one of {[write.key for write in writes]} first")
            raise failure("writing state", status, body)

    async def delete(self, key: str) -> None:
        """Remove a key; a missing one is no error."""
        status, body = await self._sidecar.request("DELETE", f"{self._path}/{quote(key, safe='')}")
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            raise failure(f"deleting {key!r}", status, body)


def _upsert(write: Write) -> dict[str, Any]:
    request: dict[str, Any] = {"key": write.key, "value": write.value}
    if write.etag is not None:
        request["etag"] = write.etag
    if write.create or write.etag is not None:
        request["options"] = {"concurrency": "first-write"}
    if write.ttl is not None:
        request["metadata"] = {"ttlInSeconds": str(write.ttl or _FOR_GOOD)}
    return request


def _is_conflict(status: int, body: bytes) -> bool:
    return status == HTTPStatus.CONFLICT or _CONFLICT.search(body) is not None
