"""Durable workflows on Dapr's engine.

The SDK's worker runs on a thread and an event loop of its own; activities are handed over to the app's
loop, where the connections of all ports live.
"""

import asyncio
import json
import logging
from collections.abc import Generator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import grpc
from dapr.ext.workflow import (
    DaprWorkflowContext,
    RetryPolicy,
    TaskFailedError,
    WorkflowActivityContext,
    WorkflowRuntime,
    WorkflowState,
    when_all,
    when_any,
)
from dapr.ext.workflow import WorkflowStatus as DaprStatus
from pydantic import JsonValue

from dovecote.dapr.traced import TracedWorkflowClient
from dovecote.errors import DovecoteError, UnavailableError, is_retryable, named
from dovecote.ports import Activity, Retry, Task, WorkflowFunction, WorkflowStatus

_STATUS: Final = {
    DaprStatus.COMPLETED: "completed",
    DaprStatus.FAILED: "failed",
    DaprStatus.TERMINATED: "failed",
    DaprStatus.STALLED: "failed",
}

# The engine reads a run key by key while it is written, and may find half of a step.
_TORN: Final = "missing from state store"
_READS: Final = 20
_READ_PAUSE: Final = 0.05


class NonRetryableError(Exception):
    """Known to the SDK's worker by this name: the retry policy of an activity does not apply to it."""


class RetryableError(Exception):
    """An activity failed, and may be tried again."""


class DaprContext:
    """The workflow context of the library, on the SDK's."""

    def __init__(self, context: DaprWorkflowContext) -> None:
        self._context = context

    @property
    def instance_id(self) -> str:
        """The id of this run."""
        return self._context.instance_id

    @property
    def current_utc_datetime(self) -> datetime:
        """The time of the current step; the SDK leaves out that it is in UTC."""
        return self._context.current_utc_datetime.replace(tzinfo=UTC)

    def call_activity(self, name: str, data: JsonValue, retry: Retry | None = None) -> Task:
        """Schedule an activity of this app."""
        retry = retry or Retry()
        policy = RetryPolicy(
            first_retry_interval=timedelta(seconds=retry.first),
            max_number_of_attempts=retry.attempts,
            backoff_coefficient=retry.factor,
            max_retry_interval=timedelta(seconds=retry.longest),
        )
        return self._context.call_activity(name, input=data, retry_policy=policy)

    def wait_for_external_event(self, name: str, limit: timedelta | None = None) -> Task:
        """Wait for an event; TimeoutError after the limit."""
        return self._context.wait_for_external_event(name, timeout=limit)

    def create_timer(self, delay: timedelta) -> Task:
        """A durable pause."""
        return self._context.create_timer(delay)

    def when_all(self, tasks: Sequence[Task]) -> Task:
        """All results, in order."""
        return when_all(cast("Any", tasks))

    def when_any(self, tasks: Sequence[Task]) -> Task:
        """The first task that is done."""
        return when_any(cast("Any", tasks))

    def result_of(self, task: Task) -> Any:
        """The result of a task that is done, or its error raised."""
        try:
            return cast("Any", task).get_result()
        except TaskFailedError as error:
            raise _translated(error) from error


class _Runtime(WorkflowRuntime):
    """The SDK's runtime, whose worker leaves its event loop open: it is closed here.

    Upstream: microsoft/durabletask-python#256, which Dapr's copy of that worker does not have yet.
    """

    def shutdown(self) -> None:
        untyped: Any = super()
        untyped.shutdown()
        worker: Any = vars(self)["_WorkflowRuntime__worker"]
        loop: asyncio.AbstractEventLoop | None = worker._async_worker_manager._queue_event_loop  # noqa: SLF001 - see above
        # The worker's thread may outlast its own patience, and then has the loop still.
        if loop is not None and not loop.is_running():
            loop.close()


class DaprWorkflows:
    """Workflows of this app on its sidecar; it carries out so many of their activities at once."""

    def __init__(self, grpc_port: int, *, concurrency: int) -> None:
        self._port = str(grpc_port)
        self._runtime = _Runtime(
            host="127.0.0.1", port=self._port, maximum_concurrent_activity_work_items=concurrency
        )
        self._client = TracedWorkflowClient(host="127.0.0.1", port=self._port)
        self._loop = asyncio.get_running_loop()
        self._registered = False
        self._stopping = False
        self._begun: set[asyncio.Task[JsonValue]] = set()
        # What the client logs, it raises as well.
        logging.getLogger("DaprWorkflowClient").setLevel(logging.CRITICAL)

    def register(self, name: str, workflow: WorkflowFunction) -> None:
        """Make a workflow known, before the start."""

        def run(context: DaprWorkflowContext, data: Any) -> Generator[Any, Any, JsonValue]:
            return (yield from _driven(workflow, DaprContext(context), data))

        self._runtime.register_workflow(run, name=name)
        self._registered = True

    def register_activity(self, name: str, activity: Activity) -> None:
        """Make an activity known, before the start."""

        async def run(_: WorkflowActivityContext, data: Any) -> JsonValue:
            done = asyncio.run_coroutine_threadsafe(self._work(activity, data), self._loop)
            return await asyncio.wrap_future(done)

        self._runtime.register_activity(run, name=name)

    async def start(self) -> None:
        """Connect the worker, if there is something to run."""
        if self._registered:
            await asyncio.to_thread(self._runtime.start)

    async def drain(self, limit: float) -> None:
        """Finish the activities that were begun, for `limit` seconds at most, and begin no more.

        What is cut off or was not begun is handed out again, here after the next start or to another replica.
        """
        self._stopping = True
        if self._begun:
            await asyncio.wait(self._begun, timeout=limit)

    async def stop(self) -> None:
        """Disconnect."""
        if self._registered:
            await asyncio.to_thread(self._runtime.shutdown)

    async def _work(self, activity: Activity, data: Any) -> JsonValue:
        if self._stopping:
            await asyncio.Event().wait()  # until the worker is gone, which cancels this
        task = asyncio.create_task(_marked(activity, data))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        return await task

    async def schedule(self, name: str, data: JsonValue, *, instance_id: str) -> bool:
        """Start a run; False if there is one of that id already."""
        # The engine refuses an id that runs; one that has ended it would run again.
        if await self.status(instance_id) is not None:
            return False
        try:
            await self._client.schedule_new_workflow(name, input=data, instance_id=instance_id)
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.ALREADY_EXISTS or "already exists" in (error.details() or ""):
                return False
            raise _unavailable(f"starting workflow {name!r}", error) from error
        return True

    async def raise_event(self, instance_id: str, name: str, data: dict[str, JsonValue]) -> None:
        """Hand an event to a run. One that has ended ignores it."""
        if not data:
            raise ValueError(f"event {name!r} has no data, and would arrive as None")
        try:
            await self._client.raise_workflow_event(instance_id, name, data=data)
        except grpc.aio.AioRpcError as error:
            raise _unavailable(f"event {name!r} for workflow {instance_id!r}", error) from error

    async def status(self, instance_id: str) -> WorkflowStatus | None:
        """Where a run stands; None if there is none."""
        state = await self._fetch(instance_id)
        if state is None:
            return None
        failed = _payload(state.failure_details) if state.failure_details else None
        return WorkflowStatus(
            instance_id=instance_id,
            status=cast("Any", _STATUS.get(state.runtime_status, "running")),
            output=json.loads(state.serialized_output) if state.serialized_output else None,
            error_type=type(failed).__name__ if failed else "",
            error=str(failed) if failed else "",
        )

    async def _fetch(self, instance_id: str) -> WorkflowState | None:
        reads = 0
        while True:
            try:
                return await self._client.get_workflow_state(instance_id, fetch_payloads=True)
            except grpc.aio.AioRpcError as error:
                reads += 1
                if reads == _READS or _TORN not in (error.details() or ""):
                    raise _unavailable(f"workflow {instance_id!r}", error) from error
            await asyncio.sleep(_READ_PAUSE)


async def _marked(activity: Activity, data: Any) -> JsonValue:
    """Run an activity; its error says by its class whether the engine may try again."""
    try:
        return await activity(data)
    except Exception as error:
        mend = error.mend if isinstance(error, DovecoteError) else ""
        text = json.dumps({"type": type(error).__name__, "message": str(error), "mend": mend})
        kind = RetryableError if is_retryable(error) else NonRetryableError
        raise kind(text) from error


def _driven(workflow: WorkflowFunction, context: DaprContext, data: Any) -> Generator[Any, Any, JsonValue]:
    """Run a workflow function, with the engine's errors translated into ours."""
    steps = workflow(context, data)
    value: Any = None
    failed: Exception | None = None
    while True:
        try:
            task = steps.throw(failed) if failed else steps.send(value)
        except StopIteration as stop:
            result: JsonValue = stop.value
            return result
        try:
            value, failed = (yield task), None
        except TaskFailedError as error:
            failed = _translated(error)
        except TimeoutError as error:
            failed = error


def _translated(error: TaskFailedError) -> DovecoteError:
    return _payload(error.details)


def _payload(details: Any) -> DovecoteError:
    try:
        carried = json.loads(details.message)
        return named(carried["type"], carried["message"], carried["mend"])
    except (ValueError, TypeError, KeyError):
        return named(details.error_type, details.message)


def _unavailable(what: str, error: grpc.aio.AioRpcError) -> UnavailableError:
    return UnavailableError(f"{what}: {error.code().name}: {error.details()}")
