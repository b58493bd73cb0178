"""A tool that knows only the broker, and the apps that it is known to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from dovecote import Message, topics
from dovecote.directory import Directory, Registration
from dovecote.errors import NotFoundError
from dovecote.settings import Settings
from dovecote.testing import Network, ScriptedModel
from services.directory.main import app as directory
from services.gateway.main import app as gateway
from services.recorder.main import app as recorder
from tests.support.eventually import eventually

SCALE: dict[str, Any] = {
    "name": "scale",
    "description": "Weigh something, in grams.",
    "parameters": {
        "type": "object",
        "properties": {"what": {"type": "string"}},
        "required": ["what"],
        "additionalProperties": False,
    },
}


@asynccontextmanager
async def running(*more: Any, model: Any = None, **settings: Any) -> AsyncIterator[Network]:
    """The directory, the gateway and the recorder, with more apps."""
    used = Settings(**{"resend_after": 0.2, "heartbeat": 0.5, **settings})
    scripted = ScriptedModel(model) if model else None
    async with Network([directory, gateway, recorder, *more], model=scripted, settings=used) as net:
        yield net


async def register(net: Network, **changes: Any) -> None:
    """Register the scale, or what the changes make of it; returns when that is confirmed."""
    before = len(net.bus.events(topics.AGENT_STATUS))
    await net.bus.publish_content(topics.TOOL_REGISTRATIONS, SCALE | changes)
    await eventually(lambda: len(net.bus.events(topics.AGENT_STATUS)) > before, "the confirmation")


async def announced(net: Network) -> list[Registration]:
    """The tools that the directory names."""
    return [row for row in await Directory(net.invoke).running() if row.kind == "tool"]


async def invoke(net: Network, function: str = "scale", **request: Any) -> Any:
    """Call a function as an app does."""
    body = {"arguments": {"what": "feather"}, **request}
    return await net.invoke("gateway", f"tools/{function}", body)


async def call_of(net: Network, number: int = 0, tool_id: str = "scale") -> dict[str, Any]:
    """What the tool gets as its call of that number."""
    calls = await eventually(lambda: net.bus.events(topics.tool_calls(tool_id))[number:], "the call")
    found: dict[str, Any] = calls[0]
    return found


async def answer(net: Network, content: Any, tool_id: str = "scale") -> None:
    """Answer as the tool."""
    await net.bus.publish_event(topics.tool_responses(tool_id), content)


@asynccontextmanager
async def weighing(net: Network, weigh: Callable[[dict[str, Any]], Any]) -> AsyncIterator[None]:
    """A tool that answers each of its calls once."""

    async def work() -> None:
        number = 0
        while True:
            call = await call_of(net, number)
            await answer(net, {"task_id": call["task_id"], **weigh(call["arguments"])})
            number += 1

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()


async def letters(net: Network, content: Any) -> Any:
    """The dead letter of plain content, when its reason is there."""
    path = f"deadletters/{Message.from_cloudevent(content).id}"

    async def look() -> Any:
        try:
            letter: Any = await net.invoke("recorder", path, verb="GET")
        except NotFoundError:
            return None
        return letter if letter["reasons"] and letter["message"] else None

    return await eventually(look, "the dead letter with its reason")
