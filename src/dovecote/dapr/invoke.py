"""Service invocation through the sidecar."""

from collections.abc import Mapping
from typing import Literal

from pydantic import JsonValue
from pydantic_core import from_json

from dovecote.dapr.sidecar import Sidecar
from dovecote.errors import AgentUnavailableError, UnavailableError, named


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
        try:
            value: JsonValue = from_json(answer) if answer else None
        except ValueError:
            value = {"detail": answer[:300].decode(errors="replace")}
        if status < 300:  # noqa: PLR2004 - HTTP
            return value
        problem = value if isinstance(value, dict) else {}
        code = str(problem.get("errorCode", ""))
        if code.startswith("ERR_DIRECT_INVOKE"):
            raise AgentUnavailableError(f"app {app_id!r} cannot be reached: {problem.get('message')}")
        text = str(problem.get("detail") or problem.get("message") or value)
        if problem.get("title"):
            raise named(str(problem["title"]), text)
        raise UnavailableError(f"{app_id}/{method} answered {status}: {text}")
