"""Traces (W3C): what an app asks its sidecar for belongs to the trace of what it was asked itself.

Spans are made by the sidecars alone; an app hands on what it was given.
"""

from typing import Final

from opentelemetry import context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

_W3C: Final = TraceContextTextMapPropagator()


class Traced:
    """An ASGI app that answers each request as a part of the request's trace."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        headers = Headers(scope=scope) if scope["type"] == "http" else {}
        if "traceparent" not in headers:
            return await self._app(scope, receive, send)
        token = context.attach(_W3C.extract(headers))
        try:
            return await self._app(scope, receive, send)
        finally:
            context.detach(token)


def carried() -> dict[str, str]:
    """The headers by which a request of this task belongs to its trace; none outside of a trace."""
    headers: dict[str, str] = {}
    _W3C.inject(headers)
    return headers
