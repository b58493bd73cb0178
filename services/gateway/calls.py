"""Calls of tools that are no apps: a message to the tool, sent until its answer is there.

Each call has a row in the state store, which the first outcome is written to, so that the answer may come to
another replica, and a call that comes again gets the same outcome.
"""

import asyncio
import contextlib
import json
import logging
from typing import Any, Final

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, JsonValue

from dovecote import App, Message, Write, topics
from dovecote.errors import ConflictError, InvalidInputError
from dovecote.results import Failure
from dovecote.tools import ToolOutcome, ToolRequest
from dovecote.updates import update
from services.gateway.registrations import ToolRegistration, checked

log = logging.getLogger(__name__)

_KEPT: Final = 24 * 3600
_LOOK: Final = 0.5  # seconds until it is looked whether another replica got the answer


class ToolAnswer(BaseModel):
    """What a tool answers: the id of the call, and a result or an error."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    call_id: str = Field(validation_alias=AliasChoices("task_id", "call_id", "id"))
    result: JsonValue = None
    error: JsonValue = None

    def outcome(self) -> ToolOutcome:
        """The answer as the tools of apps give it."""
        if not self.error:
            return ToolOutcome(result=self.result)
        text = self.error.get("message") if isinstance(self.error, dict) else self.error
        message = text if isinstance(text, str) else json.dumps(self.error, ensure_ascii=False)
        return ToolOutcome(error=Failure(type="ToolError", message=message))


class Calls:
    """Calls under way, and those that are over."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._answered: dict[str, asyncio.Event] = {}

    async def make(self, tool: ToolRegistration, request: ToolRequest) -> ToolOutcome:
        """Send a call until it is answered, or its time is over; one call per id at a time."""
        running = self._app.running
        clock = asyncio.get_running_loop().time
        end = clock() + tool.timeout
        pause = running.settings.resend_after
        send = await self._begin(tool, request.id)
        self._answered[request.id] = asyncio.Event()
        try:
            while True:
                if send:
                    await running.ports.bus.publish_content(topics.tool_calls(tool.id), _call(tool, request))
                outcome = await self._wait(request.id, min(pause, end - clock()))
                if outcome is not None:
                    return outcome
                if clock() >= end:
                    text = f"tool {tool.name!r} did not answer within {tool.timeout:g} s"
                    late = ToolOutcome(error=Failure(type="DeadlineError", message=text))
                    return await self._settle(tool.id, request.id, late) or late
                send = True
                pause *= 2
        finally:
            del self._answered[request.id]

    async def take(self, tool_id: str, message: Message) -> None:
        """Take an answer; one that is late is logged. InvalidInputError for one that cannot be read."""
        answer = checked(ToolAnswer, message.content)
        if not answer.model_fields_set & {"result", "error"}:
            raise InvalidInputError(f"the answer to call {answer.call_id!r} has neither result nor error")
        outcome = answer.outcome()
        recorded = await self._settle(tool_id, answer.call_id, outcome)
        if recorded is None:
            log.warning("tool %r answers call %r, which it was not sent", tool_id, answer.call_id)
            return
        if recorded != outcome:
            log.warning("tool %r answers call %r in another way, or too late", tool_id, answer.call_id)
        # Also where another replica, which got the same answer, was the first to record it.
        if answer.call_id in self._answered:
            self._answered[answer.call_id].set()

    async def _begin(self, tool: ToolRegistration, call_id: str) -> bool:
        """Whether nobody has begun this call before."""
        row: JsonValue = {"tool": tool.id, "outcome": None}
        try:
            await self._app.running.ports.state.write(Write(_key(call_id), row, create=True, ttl=_KEPT))
        except ConflictError:
            return False
        return True

    async def _settle(self, tool_id: str, call_id: str, outcome: ToolOutcome) -> ToolOutcome | None:
        """Record the outcome. Returns what is recorded, maybe an earlier one; None if there is no such call."""

        def settled(row: Any) -> JsonValue:
            if row is None or row["tool"] != tool_id or row["outcome"] is not None:
                return None
            return {**row, "outcome": outcome.model_dump(mode="json")}

        row = await update(self._app.running.ports.state, _key(call_id), settled, ttl=_KEPT)
        if row is None or row["tool"] != tool_id:
            return None
        return ToolOutcome.model_validate(row["outcome"])

    async def _wait(self, call_id: str, seconds: float) -> ToolOutcome | None:
        """The outcome, if it is there within that time."""
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while True:
            item = await self._app.running.ports.state.get(_key(call_id))
            if item is not None and item.value["outcome"] is not None:
                return ToolOutcome.model_validate(item.value["outcome"])
            left = until - clock()
            if left <= 0:
                return None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, _LOOK)):
                    await self._answered[call_id].wait()


def _key(call_id: str) -> str:
    return f"call:{call_id}"


def _call(tool: ToolRegistration, request: ToolRequest) -> dict[str, JsonValue]:
    return {
        "id": request.id,
        "task_id": request.id,
        "tool_id": tool.id,
        "tool_name": tool.name,
        "arguments": request.arguments,
    }
