"""Service invocation in memory: calls the other app's ASGI app in this process."""

import asyncio
from collections.abc import Mapping
from typing import Literal

import httpx
from fastapi import FastAPI
from pydantic import JsonValue
from pydantic_core import to_json

from dovecote.errors import AgentUnavailableError, UnavailableError
from dovecote.guard import TOKEN
from dovecote.problems import read_answer


class MemoryInvoke:
    """Calls apps by app-id, and shows them the token; an app that is not in `apps` cannot be reached."""

    def __init__(self, apps: Mapping[str, FastAPI], token: str = "") -> None:
        self._apps = apps
        self._token = token

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
        if app_id not in self._apps:
            there = ", ".join(sorted(self._apps)) or "none"
            raise AgentUnavailableError(f"app {app_id!r} cannot be reached; running: {there}")
        content = None if body is None else to_json(body)
        sent = {"content-type": "application/json", TOKEN: self._token, **(headers or {})}
        try:
            async with asyncio.timeout(timeout), client(self._apps[app_id]) as http:
                response = await http.request(verb, f"/{method}", content=content, headers=sent)
        except TimeoutError as error:
            raise UnavailableError(f"{app_id}/{method} did not answer within {timeout:g} s") from error
        return read_answer(f"{app_id}/{method}", response.status_code, response.content)


def client(api: FastAPI) -> httpx.AsyncClient:
    """An HTTP client of an app in this process; errors come as responses, as over a wire."""
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=f"http://{api.title}", timeout=None, trust_env=False)  # noqa: S113 - callers set the limit
