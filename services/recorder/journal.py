"""The journal: every event of a task, in the order of its arrival, in the state store."""

import asyncio
import contextlib
from collections import defaultdict
from typing import Final
from weakref import WeakValueDictionary

from dovecote import App, TaskEvent, Write
from dovecote.errors import ConflictError

_KEPT: Final = 7 * 24 * 3600
_LOOK: Final = 0.5


class Journal:
    """Events of tasks. A reader follows one as it grows, whichever replica wrote it."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._waiting: defaultdict[str, list[TaskEvent]] = defaultdict(list)
        self._writing: dict[str, asyncio.Lock] = {}
        self._grown: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()  # kept by who waits

    async def append(self, event: TaskEvent) -> None:
        """Return when the event is kept; one that is there already (same id) is not kept twice.

        Events of one task that come while another write of it is under way share the next write.
        """
        self._waiting[event.task_id].append(event)
        lock = self._writing.setdefault(event.task_id, asyncio.Lock())
        async with lock:
            if events := self._waiting.pop(event.task_id, None):
                try:
                    await self._write(event.task_id, events)
                except BaseException:
                    self._waiting[event.task_id] = events + self._waiting[event.task_id]
                    raise
            if event.task_id not in self._waiting:
                self._writing.pop(event.task_id, None)
        if grown := self._grown.pop(event.task_id, None):
            grown.set()

    async def _write(self, task_id: str, events: list[TaskEvent]) -> None:
        state = self._app.running.ports.state
        key = f"events:{task_id}"
        while True:
            item = await state.get(key)
            rows = list(item.value) if item else []
            known = {row["id"] for row in rows}
            for event in sorted(events, key=lambda event: event.timestamp):  # as they happened, not as they came
                if event.id not in known:
                    known.add(event.id)
                    rows.append(event.model_dump(mode="json"))
            try:
                etag = item.etag if item else None
                await state.write(Write(key, rows, etag=etag, create=item is None, ttl=_KEPT))
            except ConflictError:
                continue  # another replica added to the same task: look again
            return

    async def after(self, task_id: str, number: int, patience: float) -> list[TaskEvent]:
        """Events of a task after the first `number`; waits up to `patience` seconds for one."""
        clock = asyncio.get_running_loop().time
        until = clock() + patience
        while True:
            grown = self._grown.setdefault(task_id, asyncio.Event())
            item = await self._app.running.ports.state.get(f"events:{task_id}")
            rows = item.value[number:] if item else []
            left = until - clock()
            if rows or left <= 0:
                return [TaskEvent.model_validate(row) for row in rows]
            with contextlib.suppress(TimeoutError):
                # Another replica may have written it, so look again soon in any case.
                async with asyncio.timeout(min(left, _LOOK)):
                    await grown.wait()
