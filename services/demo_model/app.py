"""The HTTP server: chat completions as the OpenAI clients know them, by the demonstration rules or by a script."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from services.demo_model.calls import Answer, CallLog, Calls
from services.demo_model.demonstration import reply
from services.demo_model.script import Facts, Rule, Script, ScriptedError, scripted_reply
from services.demo_model.wire import MODEL, ChatRequest, Reply, completion, error_body, problem

Body = TypeVar("Body", bound=BaseModel)
_LOG = logging.getLogger("uvicorn.error")


class MalformedRequestError(Exception):
    """A body that is not what the endpoint takes; `param` is where, in dots, or None where it is no JSON at all."""

    def __init__(self, message: str, param: str | None) -> None:
        super().__init__(message)
        self.param = param


class CutConnection(Response):
    """A response that promises more than it sends, on which the server closes the connection."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the head and one byte of many, and no end."""
        head = [(b"content-type", b"application/json"), (b"content-length", b"1024")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})


class ScriptedModel:
    """A script at work: how often each rule was used, and the record of the calls."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.log = CallLog()
        self.used: dict[int, int] = {}

    def start(self, script: Script) -> None:
        """Work by another script from now on; the calls so far stay on record."""
        self.script = script
        self.used = {}

    def reset(self) -> None:
        """Forget the calls, and how often each rule was used."""
        self.log.reset()
        self.used = {}

    async def respond(self, request: ChatRequest, authorization: str) -> Response:
        """Response to one request; matching and counting happen before the first await, so calls cannot mix."""
        number = self.log.arrive()
        facts = Facts(request, number)
        if self.script.api_key is not None and authorization != f"Bearer {self.script.api_key}":
            self.log.record(number, request, facts, "error", None)
            return _error(401, "The API key is missing or wrong.", "authentication_error", code="invalid_api_key")
        found = self._rule(facts)
        if found is None and self.script.strict:
            self.log.record(number, request, facts, "error", None)
            return _error(500, f"No rule of the script fits call {number}: {facts.summary}.", "server_error")
        rule, name, words = found or (Rule(), None, {})
        said = None if rule.error or rule.drop else scripted_reply(rule, words, request)
        self.log.record(number, request, facts, _kind(rule, said), name)
        await asyncio.sleep(rule.delay)
        return _answer(request, rule.error, said)

    def _rule(self, facts: Facts) -> tuple[Rule, str, dict[str, str]] | None:
        for at, rule in enumerate(self.script.rules):
            words = facts.fit(rule.when)
            if words is not None and (rule.times is None or self.used.get(at, 0) < rule.times):
                self.used[at] = self.used.get(at, 0) + 1
                return rule, rule.name or f"rule {at + 1}", words
        return None


def create_app(script: Script | None = None) -> FastAPI:
    """Server of the demonstration model; with a script, if only an empty one, it is scripted and counts calls."""
    app = FastAPI(title="Demonstration model", lifespan=_announced(script), openapi_url=None)
    model = ScriptedModel(script) if script is not None else None
    app.exception_handler(MalformedRequestError)(_malformed)
    app.exception_handler(HTTPException)(_no_such_thing)

    @app.post("/v1/chat/completions", response_model=None)
    async def complete(http: Request) -> Response:
        request = await _body(ChatRequest, http)
        if model is None:
            return _answer(request, None, reply(request))
        return await model.respond(request, http.headers.get("authorization", ""))

    @app.get("/v1/models", response_model=None)
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "dovecote"}]}

    @app.get("/healthz", response_model=None)
    async def healthz() -> dict[str, str]:
        return {"status": "ok", "model": MODEL}

    if model is not None:
        _add_control(app, model)
    return app


def _add_control(app: FastAPI, model: ScriptedModel) -> None:
    @app.get("/calls", response_model=None)
    async def calls() -> Calls:
        return model.log.report()

    @app.delete("/calls", status_code=204)
    async def reset() -> None:
        model.reset()

    @app.post("/script", status_code=204)
    async def replace(http: Request) -> None:
        model.start(await _body(Script, http))


async def _body(model: type[Body], request: Request) -> Body:
    """Body of the request; FastAPI's own way of reading it would load pydantic v1, 0.2 s at every start."""
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        place, message = problem(error)
        raise MalformedRequestError(f"{place or 'The body'}: {message}.", place or None) from error


def _announced(script: Script | None) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        how = (
            "it quotes what it is given" if script is None else f"it follows a script of {len(script.rules)} rules"
        )
        _LOG.info("This is the demonstration model, a stand-in without a language model: %s.", how)
        yield

    return lifespan


def _answer(request: ChatRequest, error: ScriptedError | None, said: Reply | None) -> Response:
    if error is not None:
        return _scripted_error(error)
    return CutConnection() if said is None else JSONResponse(completion(request, said))


def _scripted_error(error: ScriptedError) -> Response:
    headers = {} if error.retry_after is None else {"Retry-After": f"{error.retry_after:g}"}
    if isinstance(error.body, str):
        return PlainTextResponse(error.body, error.status, headers)
    body = error.body if error.body is not None else error_body(error.message, "scripted_error")
    return JSONResponse(body, error.status, headers)


def _kind(rule: Rule, said: Reply | None) -> Answer:
    if said is None:
        return "error" if rule.error else "drop"
    return "tool_calls" if said.calls else "text"


def _error(status: int, message: str, kind: str, param: str | None = None, code: str | None = None) -> JSONResponse:
    return JSONResponse(error_body(message, kind, param, code), status)


async def _malformed(_: Request, error: MalformedRequestError) -> Response:
    return _error(400, str(error), "invalid_request_error", error.param)


async def _no_such_thing(_: Request, error: HTTPException) -> Response:
    return _error(error.status_code, str(error.detail), "invalid_request_error")
