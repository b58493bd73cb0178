"""What the sidecar's answers about state mean."""

from typing import Any, cast

import pytest

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
