"""What a sidecar's refusal to encrypt or decrypt means."""

import grpc
import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata

from dovecote.dapr.crypto import _refusal
from dovecote.errors import ConfigurationError, DovecoteError, InvalidInputError, UnavailableError

FAILED = "failed to perform operation: "


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (StatusCode.UNAVAILABLE, "connection refused", UnavailableError),
        (StatusCode.DEADLINE_EXCEEDED, "", UnavailableError),
        (StatusCode.CANCELLED, "the stream was reset", UnavailableError),
        (StatusCode.UNKNOWN, "stream removed", UnavailableError),
        (StatusCode.INTERNAL, FAILED + "context canceled", UnavailableError),
        (StatusCode.INTERNAL, FAILED + "context deadline exceeded", UnavailableError),
        (StatusCode.INTERNAL, FAILED + "failed to wrap the file key: the vault answered 503", UnavailableError),
        (StatusCode.INTERNAL, FAILED + "failed to validate the document's signature", InvalidInputError),
        (StatusCode.INTERNAL, FAILED + "invalid header: unsupported scheme", InvalidInputError),
        (StatusCode.INVALID_ARGUMENT, "crypto provider crypto not found", ConfigurationError),
    ],
)
def test_what_may_pass_is_tried_again_and_what_was_altered_is_not(
    code: grpc.StatusCode, details: str, kind: type[DovecoteError]
) -> None:
    assert type(_refusal(AioRpcError(code, Metadata(), Metadata(), details))) is kind
