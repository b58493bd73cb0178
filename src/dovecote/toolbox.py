"""A toolbox: the tools of an agent, found in the directory, checked and called."""

import json
import time
from collections.abc import Sequence
from typing import Any, Final

from jsonschema_rs import Draft202012Validator
from pydantic import BaseModel

from dovecote.app import App
from dovecote.messages import Message
from dovecote.ports import ToolCall, ToolSpec
from dovecote.tools import ToolOutcome, ToolRequest, call_tool

_FRESH: Final = 5.0  # seconds that what the directory said is believed


class Use(BaseModel):
    """A checked call of a tool. With `error` it is not made: the model reads the error and may correct it.

    `id` is the model's name for the call, `key` ours, unique for ever.
    """

    id: str
    name: str
    app_id: str = ""
    function: str = ""
    arguments: dict[str, Any] = {}
    key: str = ""
    error: str = ""


class _Offer(BaseModel):
    app_id: str
    function: str
    spec: ToolSpec


class Toolbox:
    """Functions of the tools that an agent uses, under names that any model takes."""

    def __init__(self, app: App, uses: Sequence[str]) -> None:
        self._app = app
        self._uses = list(uses)
        self._offers: dict[str, _Offer] = {}
        self._asked = float("-inf")

    async def specs(self) -> list[ToolSpec]:
        """What the model is offered. Raises AgentUnavailableError for a tool that does not run."""
        if self._uses and time.monotonic() - self._asked > _FRESH:
            await self._refresh()
        return [offer.spec for offer in self._offers.values()]

    async def _refresh(self) -> None:
        directory = self._app.running.directory
        offers: dict[str, _Offer] = {}
        for found in await directory.find(self._uses, "tool"):
            for tool in found.tools:
                name = f"{found.app_id}_{tool.name}"
                spec = tool.model_copy(update={"name": name})
                offers[name] = _Offer(app_id=found.app_id, function=tool.name, spec=spec)
        self._offers = offers
        self._asked = time.monotonic()

    async def check(self, call: ToolCall) -> Use:
        """The call, resolved and checked against its schema."""
        use = Use(id=call.id, name=call.name)
        offer = self._offers.get(call.name)
        if offer is None:
            offered = ", ".join(self._offers) or "none"
            return _refused(use, f"there is no tool {call.name!r}; the tools are: {offered}")
        use = use.model_copy(update={"app_id": offer.app_id, "function": offer.function})
        try:
            arguments = json.loads(call.arguments or "{}")
        except ValueError as error:
            return _refused(use, f"the arguments of {call.name!r} are not JSON: {error}")
        if not isinstance(arguments, dict):
            return _refused(use, f"the arguments of {call.name!r} are not a JSON object")
        if problems := misfits(offer.spec, arguments):
            return _refused(use, problems)
        return use.model_copy(update={"arguments": arguments})

    async def call(self, use: Use, task: Message) -> ToolOutcome:
        """Call the tool's app; only what is worth another try is raised."""
        request = ToolRequest(
            id=use.key, arguments=use.arguments, task_id=task.conversation_id or "", metadata=task.metadata
        )
        return await call_tool(self._app.running.ports.invoke, use.app_id, use.function, request)


def misfits(spec: ToolSpec, arguments: dict[str, Any]) -> str:
    """What is wrong with arguments, by the function's schema; empty if nothing is."""
    problems = [
        f"{'.'.join(map(str, problem.instance_path)) or spec.name}: {problem.message}"
        for problem in Draft202012Validator(spec.parameters).iter_errors(arguments)
    ]
    return f"the arguments of {spec.name!r} do not fit: {'; '.join(problems)}" if problems else ""


def _refused(use: Use, problem: str) -> Use:
    return use.model_copy(update={"error": json.dumps({"error": problem}, ensure_ascii=False)})
