"""The live stream of a task: its events as the recorder gets them, then the answer."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Final

from fastapi.sse import ServerSentEvent
from pydantic import JsonValue, TypeAdapter

from dovecote import App, TaskEvent, TaskResult
from dovecote.errors import UnavailableError
from services.gateway.orchestrator import ask_orchestrator

log = logging.getLogger(__name__)

_PATIENCE: Final = 5
_BREATH: Final = 0.05  # what happens within so many seconds is told together
_EVENTS: Final = TypeAdapter(list[TaskEvent])


async def follow(gateway: App, task_id: str, seen: int) -> AsyncIterator[ServerSentEvent]:
    """Events of a task after the first `seen`, and at the end the result as event `result`.

    The recorder's news may lag or be away; the orchestrator knows whether the task is over.
    """
    invoke = gateway.running.ports.invoke
    while True:
        rows: JsonValue = []
        try:
            path = f"tasks/{task_id}/events?after={seen}&wait={_PATIENCE}"
            rows = await invoke("recorder", path, verb="GET", timeout=_PATIENCE + 10)
        except UnavailableError as error:
            log.warning("the recorder does not answer: %s", error)
        for event in _EVENTS.validate_python(rows):
            seen += 1
            result = event.data.pop("result", None)
            yield ServerSentEvent(data=event, event=event.kind, id=str(seen))
            if result is not None:
                yield ServerSentEvent(data=result, event="result")
                return
        if rows:
            await asyncio.sleep(_BREATH)
        else:
            known = TaskResult.model_validate(await ask_orchestrator(gateway, f"tasks/{task_id}", verb="GET"))
            if known.status != "running":
                yield ServerSentEvent(data=known, event="result")
                return
            yield ServerSentEvent(comment="still running")
