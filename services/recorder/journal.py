"""The journal: every event of a task, in the order of its arrival, in the state store."""

import asyncio
import contextlib
from typing import Any, Final
from weakref import WeakValueDictionary

from pydantic import JsonValue

from dovecote import App, TaskEvent
from dovecote.updates import update
from services.recorder.batches import Batches

_KEPT: Final = 7 * 24 * 3600
_LOOK: Final = 0.5


class Journal:
    """Events of tasks. A reader follows one as it grows, whichever replica wrote it."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._batches: Batches[TaskEvent] = Batches(self._write)
        self._grown: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()  # kept by who waits

    async def append(self, event: TaskEvent) -> None:
        """Return when the event is kept; one that is there already (same id) is not kept twice."""
        await self._batches.add(event.task_id, event)
        if grown := self._grown.pop(event.task_id, None):
            grown.set()

    async def _write(self, task_id: str, events: list[TaskEvent]) -> None:
        def append(value: Any) -> JsonValue:
            rows = {row["id"]: row for row in value or []}
            for event in sorted(events, key=lambda event: event.timestamp):  # as they happened, not as they came
                rows.setdefault(event.id, event.model_dump(mode="json"))
            return [*rows.values()]

        await update(self._app.running.ports.state, _key(task_id), append, ttl=_KEPT)

    async def after(self, task_id: str, number: int, patience: float) -> list[TaskEvent]:
        """Events of a task after the first `number`; waits up to `patience` seconds for one."""
        clock = asyncio.get_running_loop().time
        until = clock() + patience
        while True:
            grown = self._grown.setdefault(task_id, asyncio.Event())
            item = await self._app.running.ports.state.get(_key(task_id))
            rows = item.value[number:] if item else []
            left = until - clock()
            if rows or left <= 0:
                return [TaskEvent.model_validate(row) for row in rows]
            with contextlib.suppress(TimeoutError):
                # Another replica may have written it, so look again soon in any case.
                async with asyncio.timeout(min(left, _LOOK)):
                    await grown.wait()


def _key(task_id: str) -> str:
    return f"events:{task_id}"
