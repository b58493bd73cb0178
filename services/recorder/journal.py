"""The journal: every event of a task, in the order of its arrival, in the state store."""

import asyncio
import contextlib
from typing import Final

from dovecote import App, TaskEvent, Write
from dovecote.errors import ConflictError

_KEPT: Final = 7 * 24 * 3600
_LOOK: Final = 0.5


class Journal:
    """Events of tasks. A reader follows one as it grows, whichever replica wrote it."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._grown = asyncio.Condition()

    async def append(self, task_id: str, events: list[TaskEvent]) -> None:
        """Add events to a task; one that is there already (same id) is not added again."""
        key = f"events:{task_id}"
        while True:
            item = await self._app.running.ports.state.get(key)
            rows = list(item.value) if item else []
            known = {row["id"] for row in rows}
            rows += [event.model_dump(mode="json") for event in events if event.id not in known]
            try:
                await self._app.running.ports.state.write(
                    Write(key, rows, etag=item.etag if item else None, create=item is None, ttl=_KEPT)
                )
            except ConflictError:
                continue  # another batch of the same task was faster: look again
            break
        async with self._grown:
            self._grown.notify_all()

    async def after(self, task_id: str, number: int, patience: float) -> list[TaskEvent]:
        """Events of a task after the first `number`; waits up to `patience` seconds for one."""
        clock = asyncio.get_running_loop().time
        until = clock() + patience
        while True:
            item = await self._app.running.ports.state.get(f"events:{task_id}")
            rows = item.value[number:] if item else []
            left = until - clock()
            if rows or left <= 0:
                return [TaskEvent.model_validate(row) for row in rows]
            async with self._grown:
                with contextlib.suppress(TimeoutError):
                    # Another replica may have written it, so look again soon in any case.
                    await asyncio.wait_for(self._grown.wait(), min(left, _LOOK))
