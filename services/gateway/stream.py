"""The live stream of a task: its events as the recorder gets them, then the answer."""

import logging
from collections.abc import AsyncIterator
from typing import Final

from fastapi.sse import ServerSentEvent

from dovecote import App, TaskResult
from dovecote.errors import UnavailableError

log = logging.getLogger(__name__)

_PATIENCE: Final = 5


async def follow(gateway: App, task_id: str, seen: int) -> AsyncIterator[ServerSentEvent]:
    """Events of a task after the first `seen`, and at the end the result as event `result`.

    The recorder's news may lag or be away; the orchestrator knows whether the task is over.
    """
    invoke = gateway.running.ports.invoke
    while True:
        over = False
        try:
            path = f"tasks/{task_id}/events?after={seen}&wait={_PATIENCE}"
            rows = await invoke("recorder", path, verb="GET", timeout=_PATIENCE + 10)
        except UnavailableError as error:
            log.warning("the recorder does not answer: %s", error)
            rows = []
        for row in rows if isinstance(rows, list) else []:
            seen += 1
            kind = str(row["kind"]) if isinstance(row, dict) else "event"
            over = over or kind in ("completed", "failed")
            yield ServerSentEvent(data=row, event=kind, id=str(seen))
        if over or not rows:
            result = TaskResult.model_validate(await invoke("orchestrator", f"tasks/{task_id}", verb="GET"))
            if result.status != "running":
                yield ServerSentEvent(data=result, event="result")
                return
            yield ServerSentEvent(comment="still running")
