"""The sidecar's HTTP API."""

import pytest
from pydantic import SecretStr

from dovecote.dapr.sidecar import Sidecar
from dovecote.errors import UnavailableError


async def test_what_is_asked_after_the_end_of_the_app_is_unavailable() -> None:
    sidecar = Sidecar(1, SecretStr(""))
    await sidecar.close()
    with pytest.raises(UnavailableError, match="the app has ended"):
        await sidecar.request("GET", "/v1.0/metadata")
