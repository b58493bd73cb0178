"""Tools: Python functions that models may call.

The signature and the docstring of a function are its JSON Schema. A call carries an id; a call that comes
again with the same id gets the recorded outcome, and what it wrote through `call.state` was written once.
"""

import asyncio
import inspect
import logging
import typing
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, overload

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError, create_model
from pydantic_core import PydanticSerializationError

from dovecote.app import App
from dovecote.effects import Effects, RepeatedCallError
from dovecote.errors import (
    ConfigurationError,
    ConflictError,
    DovecoteError,
    InvalidInputError,
    NotFoundError,
    is_retryable,
)
from dovecote.messages import new_id
from dovecote.ports import Invoke, State, ToolSpec, Write
from dovecote.problems import faults
from dovecote.results import Failure, TaskEvent
from dovecote.singleflight import SingleFlight
from dovecote.toolcalls import BrokeredCall, BrokeredCalls

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])
_KEPT: Final = 24 * 3600
_LONGEST: Final = 900.0  # seconds that a call may take


class ToolRequest(BaseModel):
    """A call of a tool's function. `id` names the call: the same id is the same call."""

    id: str = ""
    arguments: dict[str, Any] = {}
    task_id: str = ""
    metadata: dict[str, str] = {}


class ToolOutcome(BaseModel):
    """What a call gave: a JSON result, or an error that the model may read and correct."""

    result: JsonValue = None
    error: Failure | None = None


class Call:
    """What a function may know of its call: declare a parameter of this type to get it."""

    def __init__(self, request: ToolRequest, app: App) -> None:
        self.id = request.id
        self.task_id = request.task_id
        self.metadata = request.metadata
        self._app = app
        self.state = Effects(app.running.ports.state, request.id)

    async def progress(self, text: str, done: int, total: int) -> None:
        """Tell whoever follows the task how far the work is."""
        if self.task_id:
            event = TaskEvent(
                id=f"{self.id}.progress.{done}",
                task_id=self.task_id,
                kind="progress",
                agent=self._app.name,
                text=text,
                data={"done": done, "total": total},
            )
            self._app.running.feed.tell(event)


class Function:
    """One function: its schema, the check of its arguments, and how it is run."""

    def __init__(self, function: Callable[..., Any], *, read_only: bool) -> None:
        self.name = function.__name__
        self.read_only = read_only
        description = inspect.getdoc(function)
        if not description:
            raise ConfigurationError(
                f"tool function {self.name!r} has no docstring",
                mend="the model reads it: say what the tool does",
            )
        hints = typing.get_type_hints(function, include_extras=True)
        fields: dict[str, Any] = {}
        self._call_parameter: str | None = None
        for parameter in inspect.signature(function).parameters.values():
            hint = hints.get(parameter.name)
            if hint is None or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise ConfigurationError(
                    f"tool function {self.name!r}: parameter {parameter.name!r} has no plain type",
                    mend="annotate it; * and ** parameters have no schema",
                )
            if hint is Call:
                self._call_parameter = parameter.name
                continue
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[parameter.name] = (hint, default)
        self._function = function
        self._model = create_model(self.name, __config__=ConfigDict(extra="forbid"), **fields)
        self._result: TypeAdapter[Any] = TypeAdapter(hints.get("return", Any))
        schema = self._model.model_json_schema()
        schema.pop("title", None)
        self.spec = ToolSpec(name=self.name, description=description, parameters=schema)

    def check(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments as the function takes them; InvalidInputError if they do not fit."""
        try:
            checked = self._model.model_validate(arguments)
        except ValidationError as error:
            raise InvalidInputError(
                f"the arguments of {self.name!r} do not fit: {faults(error.errors())}"
            ) from error
        return {name: getattr(checked, name) for name in type(checked).model_fields}

    async def run(self, call: Call, arguments: dict[str, Any]) -> ToolOutcome:
        """Check, run, and make JSON of what comes back; only errors worth another try are raised."""
        try:
            values = self.check(arguments)
            if self._call_parameter:
                values[self._call_parameter] = call
            if inspect.iscoroutinefunction(self._function):
                value = await self._function(**values)
            else:
                value = await asyncio.to_thread(self._function, **values)
            return ToolOutcome(result=self._result.dump_python(value, mode="json", warnings="error"))
        except PydanticSerializationError as error:
            return _failed("ToolError", f"{self.name!r} returned something that is not JSON: {error}")
        except DovecoteError as error:
            if is_retryable(error):
                raise
            return ToolOutcome(error=Failure.of(error))
        except Exception as error:
            log.exception("tool function %r raised", self.name)
            return _failed("ToolError", f"{self.name!r} raised {type(error).__name__}: {error}")


class Tools:
    """A tool service: a name, and the functions that it offers."""

    def __init__(self, name: str, *, capabilities: Sequence[str] = ()) -> None:
        caller = inspect.stack()[1].frame.f_globals
        description = (caller.get("__doc__") or "").strip()
        self._app = App(name, kind="tool", capabilities=capabilities, description=description)
        self._functions: dict[str, Function] = {}
        self._calls: SingleFlight[ToolOutcome] = SingleFlight()
        self._app.router.add_api_route("/tools/{function}", self.call, methods=["POST"])
        self._brokered = BrokeredCalls(self._app, self._run)

    @overload
    def tool(self, function: F, *, read_only: bool = False) -> F: ...
    @overload
    def tool(self, function: None = None, *, read_only: bool = False) -> Callable[[F], F]: ...
    def tool(self, function: F | None = None, *, read_only: bool = False) -> F | Callable[[F], F]:
        """Offer the decorated function; returns it as it was.

        A `read_only` function has no effect worth recording: a repeated call runs it again.
        """

        def add(function: F) -> F:
            made = Function(function, read_only=read_only)
            self._functions[made.name] = made
            self._app.tools.append(made.spec)
            return function

        return add if function is None else add(function)

    @property
    def app(self) -> FastAPI:
        """The app to serve."""
        return self._app.asgi

    async def call(self, function: str, request: ToolRequest) -> ToolOutcome:
        """Run a function once per call id, however often the call comes."""
        found = self._functions.get(function)
        if found is None:
            raise NotFoundError(
                f"tool {self._app.name!r} has no function {function!r}",
                mend=f"it has: {', '.join(self._functions)}",
            )
        if not request.id:
            request = request.model_copy(update={"id": new_id()})
        if found.read_only:
            return await found.run(Call(request, self._app), request.arguments)
        return await self._calls.do(request.id, lambda: run_once(self._app, found, request))

    async def _run(self, brokered: BrokeredCall) -> dict[str, JsonValue]:
        """A call that came over the broker; what cannot be called is an outcome as well, since somebody waits."""
        only = next(iter(self._functions)) if len(self._functions) == 1 else ""
        request = ToolRequest(id=brokered.task_id, arguments=brokered.arguments, task_id=brokered.task_id)
        try:
            outcome = await self.call(brokered.function or only, request)
        except NotFoundError as error:
            outcome = _failed("NotFoundError", f"{error}; {error.mend}")
        return outcome.model_dump(mode="json")


async def run_once(app: App, function: Function, request: ToolRequest) -> ToolOutcome:
    """The outcome of a call: the one that is kept for its id; else the function is run, and its outcome kept."""
    state, key = app.running.ports.state, _key(request.id)
    while True:
        recorded = await state.get(key)
        if recorded is not None:
            return ToolOutcome.model_validate(recorded.value)
        call = Call(request, app)
        try:
            done = await function.run(call, request.arguments)
            if not await call.state.settle(done.model_dump(mode="json"), failed=done.error is not None):
                continue  # somebody else changed what the call read: do it anew
        except RepeatedCallError as repeated:
            done = ToolOutcome.model_validate(repeated.outcome)
        try:
            await state.write(Write(key, done.model_dump(mode="json"), create=True, ttl=_KEPT))
        except ConflictError:
            continue  # another replica recorded this call: its outcome counts
        return done


async def forget(state: State, call_id: str) -> None:
    """Let a call that ended with an error be made again; what it has had of effects stays known."""
    await state.delete(_key(call_id))


def _key(call_id: str) -> str:
    return f"call:{call_id}"


async def call_tool(invoke: Invoke, app_id: str, function: str, request: ToolRequest) -> ToolOutcome:
    """Call a function of another app; only what is worth another try is raised."""
    body = request.model_dump(mode="json")
    return ToolOutcome.model_validate(await invoke(app_id, f"tools/{function}", body, timeout=_LONGEST))


def _failed(kind: str, message: str) -> ToolOutcome:
    return ToolOutcome(error=Failure(type=kind, message=message))
