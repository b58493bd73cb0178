"""State on a state component: `statestore`, or another whose name is given.

Through the HTTP API: the SDK's transaction has no per-write concurrency, which `create` needs.
"""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from pydantic_core import from_json

from dovecote.dapr.sidecar import STATESTORE, Sidecar, failure
from dovecote.errors import ConflictError, TooLargeError
from dovecote.ports import Item, Write, check_conditions

# What a store answers when a condition does not hold; with `create` some say it only in the text of a 500.
# The last two are of one stored procedure, whose error number is out of the range that its server takes.
_CONFLICT = re.compile(
    rb"possible etag mismatch|user_script:\d+: failed to set key|COMPETING RECORD ALREADY WRITTEN|"
    rb"in the THROW statement is outside the valid range"
)

# What the sidecar answers with a 400 when a request is over its limit, `--max-body-size`.
_TOO_LARGE: Final = b"stream too large"

# A time to live that ends an earlier one: a store may keep that over a write without any. It is 68 years, the most
# that every store takes; for -1, which Dapr documents as no end, some have the value expire at once.
_FOR_GOOD = 2**31 - 1


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
        """Write all or nothing; ConflictError if a condition does not hold, TooLargeError over the limit."""
        check_conditions(writes)
        created = [write.key for write in writes if write.create]
        # The sidecar takes a create that is lost for a failure that may pass, and tries it for seconds.
        if await self.get_many(created):
            raise ConflictError(f"one of {created} is there already")
        if len(writes) == 1:
            status, body = await self._sidecar.request("POST", self._path, [_upsert(writes[0])])
        else:
            operations = [{"operation": "upsert", "request": _upsert(write)} for write in writes]
            status, body = await self._sidecar.request(
                "POST", f"{self._path}/transaction", {"operations": operations}
            )
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            keys = [write.key for write in writes]
            if _is_conflict(status, body):
                raise ConflictError(f"somebody else wrote one of {keys} first")
            if _is_too_large(status, body):
                raise TooLargeError(
                    f"what is to be written to {keys} is more than the sidecar takes at once",
                    mend="write less, or raise its `--max-body-size`",
                )
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


def _is_too_large(status: int, body: bytes) -> bool:
    return status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or (
        status == HTTPStatus.BAD_REQUEST and _TOO_LARGE in body
    )


def _is_conflict(status: int, body: bytes) -> bool:
    return status == HTTPStatus.CONFLICT or _CONFLICT.search(body) is not None
