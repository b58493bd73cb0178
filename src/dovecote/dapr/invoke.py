"""Service invocation through the sidecar."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal

from pydantic import JsonValue

from dovecote.dapr.sidecar import Sidecar
from dovecote.errors import AgentUnavailableError
from dovecote.problems import read_answer


class DaprInvoke:
    """Calls other apps by app-id; the sidecars find them."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar

    async def __call__(  # noqa: PLR0913 - the parts of a request
        self,
        app_id: str,
        method: str,
        body: JsonValue = None,
        *,
        verb: Literal["GET", "POST", "PUT", "DELETE"] = "POST",
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,  # noqa: ASYNC109 - a limit on the whole call
    ) -> JsonValue:
        """The JSON that the app answers with; the error that it names otherwise."""
        path = f"/v1.0/invoke/{app_id}/method/{method}"
        status, answer = await self._sidecar.request(verb, path, body, headers=headers, limit=timeout)
        if b"ERR_DIRECT_INVOKE" in answer and status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise AgentUnavailableError(
                f"app {app_id!r} cannot be reached: {answer[:300].decode(errors='replace')}"
            )
        return read_answer(f"{app_id}/{method}", status, answer)
