"""The guard: what the sidecar sends to an app must carry the token that both know; what is public need not."""

import hmac
from collections.abc import Callable, Container
from typing import Final

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from dovecote.errors import UnauthorizedError
from dovecote.problems import MEDIA_TYPE, to_problem

TOKEN: Final = "dapr-api-token"  # noqa: S105 - the header's name


class Guard:
    """An ASGI app that answers 401 to who does not show the token, if there is one.

    Open to everybody are `paths`, and what one of the `routes` takes.
    """

    def __init__(
        self, app: ASGIApp, token: Callable[[], SecretStr], paths: Container[str], routes: list[BaseRoute]
    ) -> None:
        self._app = app
        self._token = token
        self._paths = paths
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or self._is_known(scope) or self._is_open(scope):
            answer = self._app
        else:
            error = UnauthorizedError(
                f"{scope['method']} {scope['path']}: header {TOKEN!r} has not the app's token",
                mend="give the sidecar the same APP_API_TOKEN as the app, and call the app through its sidecar",
            )
            status, body = to_problem(error)
            answer = JSONResponse(body, status, media_type=MEDIA_TYPE)
        await answer(scope, receive, send)

    def _is_known(self, scope: Scope) -> bool:
        wanted = self._token().get_secret_value().encode()
        shown = Headers(scope=scope).get(TOKEN, "") if wanted else ""
        return hmac.compare_digest(shown.encode(), wanted)

    def _is_open(self, scope: Scope) -> bool:
        if scope["path"] in self._paths:
            return True
        return any(route.matches(scope)[0] is not Match.NONE for route in self._routes)
