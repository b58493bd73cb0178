"""What the sidecar's answers about state mean."""

from typing import Any, cast

import pytest
from pydantic_core import to_json

from dovecote import Write
from dovecote.dapr.state import DaprState
from dovecote.errors import ConflictError, DovecoteError, TooLargeError, UnavailableError


class Sidecar:
    """A sidecar that answers the same to everything."""

    def __init__(self, status: int, text: bytes) -> None:
        self._answer = status, text

    async def request(self, *_: Any) -> tuple[int, bytes]:
        return self._answer


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (409, b"", ConflictError),
        (500, b"possible etag mismatch", ConflictError),
        (500, b"mssql: FIRST-WRITE: COMPETING RECORD ALREADY WRITTEN.", ConflictError),
        (500, b"mssql: Error number 2601 in the THROW statement is outside the valid range.", ConflictError),
        (400, b'{"errorCode":"ERR_MALFORMED_REQUEST","message":"stream too large"}', TooLargeError),
        (413, b"", TooLargeError),
        (400, b'{"errorCode":"ERR_STATE_STORE_NOT_FOUND"}', UnavailableError),  # it is not loaded yet
        (500, b"the store is away", UnavailableError),
    ],
)
async def test_why_a_write_was_not_taken(status: int, text: bytes, kind: type[DovecoteError]) -> None:
    state = DaprState(cast("Any", Sidecar(status, text)))
    with pytest.raises(DovecoteError) as caught:
        await state.write(Write("key", 1))
    assert type(caught.value) is kind


class Store:
    """A sidecar whose store has one key, which notes what it is asked to write."""

    def __init__(self) -> None:
        self.written: list[str] = []

    async def request(self, _: str, path: str, body: Any) -> tuple[int, bytes]:
        if path.endswith("/bulk"):
            found = [{"key": key, "data": 1, "etag": "1"} if key == "old" else {"key": key} for key in body["keys"]]
            return 200, to_json(found)
        self.written += [row["key"] for row in body]
        return 204, b""


async def test_a_create_that_is_lost_is_not_handed_to_the_sidecar_which_would_try_it_again_and_again() -> None:
    store = Store()
    state = DaprState(cast("Any", store))
    with pytest.raises(ConflictError):
        await state.write(Write("old", 2, create=True))
    await state.write(Write("new", 2, create=True))
    assert store.written == ["new"]
