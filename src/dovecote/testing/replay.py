"""One replay of a workflow: runs its function against what is recorded of the run."""

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, JsonValue
from pydantic_core import from_json, to_json

from dovecote.errors import DovecoteError, named
from dovecote.ports import Retry, Steps, Task, WorkflowFunction


class NondeterministicError(DovecoteError):
    """A replay of a workflow did something else than the run that it replays."""


class Action(BaseModel):
    """What a workflow asked for: an activity, an external event, a timer. `due` is when the wait is over."""

    kind: Literal["activity", "event", "timer"]
    name: str = ""
    data: JsonValue = None
    retry: Retry = Retry()
    due: datetime | None = None


class Happening(BaseModel):
    """What happened to a run. `number` is the action it belongs to; `name` an event, or an error's class.

    `data` is a result, an event's data or an error's text.
    """

    kind: Literal["completed", "failed", "elapsed", "raised"]
    at: datetime
    number: int = -1
    name: str = ""
    data: JsonValue = None
    mend: str = ""


class Record(BaseModel):
    """All that is kept of a run, and all that a restart needs."""

    workflow: str
    data: JsonValue
    began: datetime
    actions: list[Action] = []
    history: list[Happening] = []
    status: Literal["running", "completed", "failed"] = "running"
    output: JsonValue = None
    error_type: str = ""
    error: str = ""


class Awaited:
    """Something that a workflow waits for."""

    def __init__(self) -> None:
        self.done = False
        self.result: Any = None
        self.error: Exception | None = None
        self._then: list[Callable[[Awaited], None]] = []

    def settle(self, result: Any = None, error: Exception | None = None) -> None:
        """Be done, once; what comes later is ignored."""
        if self.done:
            return
        self.done, self.result, self.error = True, result, error
        for then in self._then:
            then(self)

    def then(self, call: Callable[["Awaited"], None]) -> None:
        """Call when done, or now if it is."""
        if self.done:
            call(self)
        else:
            self._then.append(call)


class Replay:
    """The context of a workflow function, fed from a record.

    After `run`, `actions` is all that the workflow asked for, `open` the numbers of those not done, and
    `ended` whether it returned (`output`) or raised (`error`).
    """

    def __init__(self, instance_id: str, record: Record, workflow: WorkflowFunction) -> None:
        self.instance_id = instance_id
        self.current_utc_datetime = record.began
        self.actions: list[Action] = []
        self.ended = False
        self.output: JsonValue = None
        self.error: Exception | None = None
        self._record = record
        self._workflow = workflow
        self._awaited: list[Awaited] = []
        self._waiting: defaultdict[str, deque[Awaited]] = defaultdict(deque)
        self._early: defaultdict[str, deque[JsonValue]] = defaultdict(deque)

    @property
    def open(self) -> list[int]:
        """The numbers of the actions that are not done."""
        return [number for number, awaited in enumerate(self._awaited) if not awaited.done]

    def run(self) -> None:
        """Run the workflow as far as the record goes."""
        try:
            steps = self._workflow(self, from_json(to_json(self._record.data)))
            wanted = self._forward(steps, next(steps))
            for happening in self._record.history:
                self.current_utc_datetime = happening.at
                self._apply(happening)
                wanted = self._forward(steps, wanted)
        except StopIteration as stop:
            self.ended, self.output = True, from_json(to_json(stop.value))
        except Exception as error:  # noqa: BLE001 - whatever a workflow raises is how its run ends
            self.ended, self.error = True, error
        if self.error is None and len(self.actions) < len(self._record.actions):
            self.ended, self.error = True, self._differs(len(self.actions), "nothing")

    def call_activity(self, name: str, data: JsonValue, retry: Retry | None = None) -> Task:
        """Ask for an activity."""
        return self._ask(Action(kind="activity", name=name, data=from_json(to_json(data)), retry=retry or Retry()))

    def wait_for_external_event(self, name: str, limit: timedelta | None = None) -> Task:
        """Wait for an event; one that came before anybody waited counts, in the order of coming."""
        due = None if limit is None else self.current_utc_datetime + limit
        awaited = self._ask(Action(kind="event", name=name, due=due))
        if self._early[name]:
            awaited.settle(self._early[name].popleft())
        else:
            self._waiting[name].append(awaited)
        return awaited

    def create_timer(self, delay: timedelta) -> Task:
        """Wait for a moment."""
        return self._ask(Action(kind="timer", due=self.current_utc_datetime + delay))

    def when_all(self, tasks: Sequence[Task]) -> Task:
        """Done when all are; fails then with the first error."""
        several, composite = _awaited(tasks), Awaited()

        def look(_: Awaited) -> None:
            if all(each.done for each in several):
                errors = [each.error for each in several if each.error]
                composite.settle([each.result for each in several], errors[0] if errors else None)

        for each in several:
            each.then(look)
        if not several:
            composite.settle([])
        return composite

    def when_any(self, tasks: Sequence[Task]) -> Task:
        """Done when one is; its result is that task."""
        composite = Awaited()
        for each in _awaited(tasks):
            each.then(composite.settle)
        return composite

    def result_of(self, task: Task) -> Any:
        """The result of a task that is done, or its error raised."""
        (awaited,) = _awaited([task])
        if not awaited.done:
            raise ValueError("the task is not done: yield it first")
        if awaited.error:
            raise awaited.error
        return awaited.result

    def _ask(self, action: Action) -> Awaited:
        number = len(self.actions)
        if number < len(self._record.actions) and self._record.actions[number] != action:
            raise self._differs(number, f"{action.kind} {action.name!r} with {action.data!r}")
        self.actions.append(action)
        self._awaited.append(Awaited())
        return self._awaited[-1]

    def _differs(self, number: int, got: str) -> NondeterministicError:
        before = self._record.actions[number]
        return NondeterministicError(
            f"workflow {self._record.workflow!r}, run {self.instance_id!r}: action {number} was {before.kind} "
            f"{before.name!r} with {before.data!r}; replayed, it is {got}",
            mend="let a workflow depend only on its input, its context's time and the results it waited for",
        )

    def _forward(self, steps: Steps, wanted: object) -> Awaited:
        """Drive the workflow as long as what it waits for is done; raises StopIteration at its end."""
        while True:
            (awaited,) = _awaited([wanted])
            if not awaited.done:
                return awaited
            wanted = steps.throw(awaited.error) if awaited.error else steps.send(awaited.result)

    def _apply(self, happening: Happening) -> None:
        if happening.kind == "raised":
            waiting = self._waiting[happening.name]
            if waiting:
                waiting.popleft().settle(happening.data)
            else:
                self._early[happening.name].append(happening.data)
            return
        if happening.number >= len(self.actions):
            raise self._differs(happening.number, "nothing")
        awaited = self._awaited[happening.number]
        action = self.actions[happening.number]
        if happening.kind == "completed":
            awaited.settle(happening.data)
        elif happening.kind == "failed":
            awaited.settle(error=named(happening.name, str(happening.data), happening.mend))
        elif action.kind == "timer":
            awaited.settle()
        elif not awaited.done:
            # Later events of that name are kept for whoever waits next.
            self._waiting[action.name].remove(awaited)
            awaited.settle(error=TimeoutError(f"event {action.name!r} did not come in time"))


def _awaited(tasks: Sequence[object]) -> list[Awaited]:
    several = []
    for task in tasks:
        if not isinstance(task, Awaited):
            raise TypeError(f"a workflow yields what its context gave it, not {task!r}")
        several.append(task)
    return several
