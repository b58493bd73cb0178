"""Durable workflows in memory: a record of each run, replayed at every step as the real engine does."""

import asyncio
import logging
from datetime import datetime
from functools import partial
from typing import Any, Literal

from pydantic import JsonValue
from pydantic_core import from_json, to_json

from dovecote.errors import ConfigurationError, DovecoteError, is_retryable, named
from dovecote.ports import Activity, WorkflowFunction, WorkflowStatus
from dovecote.testing.clock import Clock
from dovecote.testing.replay import Action, Happening, Record, Replay

log = logging.getLogger(__name__)


class MemoryWorkflows:
    """Runs the workflows of one app.

    Every step replays the run from its start, so a workflow that is not deterministic fails at once, with a
    NondeterministicError that says where. An activity is tried as often as its Retry says, without the pauses.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._workflows: dict[str, WorkflowFunction] = {}
        self._activities: dict[str, Activity] = {}
        self._records: dict[str, Record] = {}
        self._under_way: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._stopped = False

    def register(self, name: str, workflow: WorkflowFunction) -> None:
        """Make a workflow known."""
        self._workflows[name] = workflow

    def register_activity(self, name: str, activity: Activity) -> None:
        """Make an activity known."""
        self._activities[name] = activity

    async def schedule(self, name: str, data: JsonValue, *, instance_id: str) -> bool:
        """Start a run; False if there is one of that id already."""
        if name not in self._workflows:
            raise ConfigurationError(f"there is no workflow {name!r}; there are: {', '.join(self._workflows)}")
        if instance_id in self._records:
            return False
        self._records[instance_id] = Record(workflow=name, data=from_json(to_json(data)), began=self._clock.now())
        self._ended[instance_id] = asyncio.Event()
        asyncio.get_running_loop().call_soon(self._step, instance_id)
        return True

    async def raise_event(self, instance_id: str, name: str, data: dict[str, JsonValue]) -> None:
        """Hand an event to a run. One that has ended, or never was, ignores it."""
        if not data:
            raise ValueError(f"event {name!r} has no data, and would arrive as None")
        self._happen(instance_id, "raised", name=name, data=from_json(to_json(data)))

    async def status(self, instance_id: str) -> WorkflowStatus | None:
        """Where a run stands; None if there is none."""
        record = self._records.get(instance_id)
        if record is None:
            return None
        fields = record.model_dump(include={"status", "output", "error_type", "error"})
        return WorkflowStatus(instance_id=instance_id, **fields)

    async def finished(self, instance_id: str) -> WorkflowStatus:
        """How a run ended; waits for it. KeyError if there is none of that id."""
        await self._ended[instance_id].wait()
        status = await self.status(instance_id)
        assert status is not None  # noqa: S101 - it has ended, so it is there
        return status

    def instances(self) -> list[str]:
        """The ids of all runs, in the order of their start."""
        return list(self._records)

    def history(self, instance_id: str) -> Record:
        """What is recorded of a run: for a test to look at."""
        return self._records[instance_id].model_copy(deep=True)

    async def restart(self) -> None:
        """Go on as after a crash: whatever was under way is lost, what is recorded goes on from there."""
        await self.close()
        self._stopped = False
        for instance_id, record in list(self._records.items()):
            self._records[instance_id] = Record.model_validate_json(record.model_dump_json())
            self._step(instance_id)

    async def close(self) -> None:
        """Stop at once, as a crash does."""
        self._stopped = True
        tasks = list(self._under_way.values())
        self._under_way.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _step(self, instance_id: str) -> None:
        record = self._records[instance_id]
        if self._stopped or record.status != "running":
            return
        replay = Replay(instance_id, record, self._workflows[record.workflow])
        replay.run()
        if replay.ended:
            self._end(instance_id, replay)
            return
        record.actions = replay.actions
        wanted = set(replay.open)
        for key, task in list(self._under_way.items()):
            if key[0] == instance_id and key[1] not in wanted:
                task.cancel()
        for number in wanted:
            self._begin(instance_id, number, record.actions[number])

    def _begin(self, instance_id: str, number: int, action: Action) -> None:
        key = (instance_id, number)
        if key in self._under_way:
            return
        if action.kind == "activity":
            work = self._perform(instance_id, number, action)
        elif action.due is not None:
            work = self._wait(instance_id, number, action.due)
        else:
            return
        task = self._under_way[key] = asyncio.create_task(work)
        task.add_done_callback(partial(self._over, key))

    def _over(self, key: tuple[str, int], task: asyncio.Task[None]) -> None:
        if self._under_way.get(key) is task:
            del self._under_way[key]

    async def _wait(self, instance_id: str, number: int, due: datetime) -> None:
        await self._clock.wait_until(due)
        self._happen(instance_id, "elapsed", number=number)

    async def _perform(self, instance_id: str, number: int, action: Action) -> None:
        try:
            result = await self._tried(action)
        except Exception as error:
            log.debug("activity %r of %r failed", action.name, instance_id, exc_info=error)
            mend = error.mend if isinstance(error, DovecoteError) else ""
            name = type(error).__name__
            self._happen(instance_id, "failed", number=number, name=name, data=str(error), mend=mend)
        else:
            self._happen(instance_id, "completed", number=number, data=result)

    async def _tried(self, action: Action) -> JsonValue:
        activity = self._activities.get(action.name)
        if activity is None:
            raise ConfigurationError(
                f"there is no activity {action.name!r}; there are: {', '.join(self._activities)}"
            )
        for left in reversed(range(action.retry.attempts)):
            try:
                result: JsonValue = from_json(to_json(await activity(from_json(to_json(action.data)))))
            except Exception as error:
                if left == 0 or not is_retryable(error):
                    raise
                await asyncio.sleep(0)
            else:
                return result
        raise ConfigurationError(f"activity {action.name!r} has a Retry of {action.retry.attempts} attempts")

    def _happen(
        self,
        instance_id: str,
        kind: Literal["completed", "failed", "elapsed", "raised"],
        **fields: Any,
    ) -> None:
        record = self._records.get(instance_id)
        if record is None or record.status != "running":
            return
        record.history.append(Happening(kind=kind, at=self._clock.now(), **fields))
        # Not here: this may be inside the very task that a step would cancel.
        asyncio.get_running_loop().call_soon(self._step, instance_id)

    def _end(self, instance_id: str, replay: Replay) -> None:
        record = self._records[instance_id]
        record.actions = replay.actions
        if replay.error is None:
            record.status, record.output = "completed", replay.output
        else:
            # An error crosses the engine as its name and text; what comes out is what comes out of the real one.
            failed = named(type(replay.error).__name__, str(replay.error))
            record.status, record.error_type, record.error = "failed", type(failed).__name__, str(failed)
            log.warning("workflow %r, run %r failed: %s", record.workflow, instance_id, failed)
        for key, task in list(self._under_way.items()):
            if key[0] == instance_id:
                task.cancel()
        self._ended[instance_id].set()
