"""Plans: what an orchestrator does for a task, as a durable workflow.

A plan is a generator function that yields what it wants: `ctx.find(…)`, `ctx.ask(…)`, `ctx.call(…)`,
`ctx.gather(…)`, `ctx.approve(…)`. A task that an agent was asked travels over the bus with an id that
follows from the plan's, and is sent again, same id, until its answer is there (dovecote.asking).
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, JsonValue

from dovecote import topics
from dovecote.asking import Asking, Patience
from dovecote.errors import DeadlineError, DovecoteError, TaskFailedError, is_retryable, named
from dovecote.messages import Message, MessageType
from dovecote.ports import WorkflowContext
from dovecote.results import AgentResult, Failure, Step
from dovecote.tools import ToolOutcome, ToolRequest


@dataclass(frozen=True)
class Find:
    """Look for running agents by capability."""

    capabilities: tuple[str, ...]


@dataclass(frozen=True)
class Ask:
    """Ask an agent, and wait for its answer."""

    agent: str
    content: JsonValue
    timeout: float | None
    escalate_to: str | None = None


@dataclass(frozen=True)
class CallTool:
    """Call a function of a tool."""

    tool: str
    function: str
    arguments: dict[str, JsonValue]


@dataclass(frozen=True)
class Gather:
    """Do several things at once."""

    wishes: tuple["Wish", ...]


@dataclass(frozen=True)
class Approve:
    """Wait for somebody's word."""

    name: str
    timeout: float


Wish = Find | Ask | CallTool | Gather | Approve
Plan = Callable[["PlanContext", Any], Generator[Wish, Any, Any]]
_Run = Generator[Any, Any, Any]


class PlanContext:
    """What a plan may yield; each call only describes the wish."""

    def __init__(self, task: Message) -> None:
        self.task = task

    def find(self, *capabilities: str) -> Find:
        """App-ids of running agents, one for each name or capability. AgentUnavailableError if one is missing."""
        return Find(capabilities)

    def ask(
        self,
        agent: str,
        content: Mapping[str, Any] | str | BaseModel,
        *,
        timeout: float | None = None,
        escalate_to: str | None = None,
    ) -> Ask:
        """The AgentResult of an agent, by app-id. TaskFailedError if it fails, DeadlineError after `timeout` s.

        If it fails for good, or does not run, `escalate_to` is asked instead, once more for as long: what was
        asked (`request`), whom (`agent`), and why that failed (`reason`). TaskFailedError has both reasons if that
        fails too.
        """
        return Ask(agent, _json(content), timeout, escalate_to)

    def call(self, tool: str, function: str, **arguments: JsonValue) -> CallTool:
        """The JSON result of a tool's function. TaskFailedError carries the tool's own error."""
        return CallTool(tool, function, arguments)

    def gather(self, *wishes: Wish) -> Gather:
        """The results of several wishes, done at the same time, in order."""
        return Gather(wishes)

    def approve(self, name: str, *, timeout: float) -> Approve:
        """The JSON that somebody sends to this task's approval of that name. DeadlineError after `timeout` s."""
        return Approve(name, timeout)


class Execution:
    """One run of a plan: carries out its wishes, and keeps the steps."""

    def __init__(self, context: WorkflowContext, task: Message, name: str, patience: Patience) -> None:
        self._context = context
        self._task = task
        self._name = name
        self._patience = patience
        self._asked = 0
        self._found: set[str] = set()
        self.steps: list[Step] = []

    def follow(self, plan: Plan, content: Any) -> _Run:
        """Drive the plan; what a wish raises is raised inside the plan, which may catch it."""
        wishes = plan(PlanContext(self._task), content)
        error: DovecoteError | None = None
        value: Any = None
        while True:
            try:
                wish = wishes.throw(error) if error else wishes.send(value)
            except StopIteration as stop:
                return stop.value
            try:
                value, error = (yield from self._do(wish)), None
            except DovecoteError as raised:
                error = raised

    def _do(self, wish: Wish) -> _Run:
        match wish:
            case Find():
                found = yield self._context.call_activity("find", list(wish.capabilities), self._patience.tries)
                self._found.update(found)
                return found
            case Ask():
                return (yield from self._ask_or_escalate(wish))
            case CallTool():
                return (yield from self._call(wish, self._next_id()))
            case Approve():
                event = yield from self._wait(f"approval.{wish.name}", wish.timeout, f"approval {wish.name!r}")
                return event["decision"]
            case Gather():
                return (yield from self._gather([self._do(each) for each in wish.wishes]))

    def _next_id(self) -> str:
        self._asked += 1
        return f"{self._context.instance_id}.{self._asked}"

    def _ask_or_escalate(self, wish: Ask) -> _Run:
        """The agent's result, or that of whom the wish names for the case that there is none."""
        if wish.escalate_to is None:
            return (yield from self._ask(wish))
        began = self._context.current_utc_datetime
        try:
            return (yield from self._ask(wish))
        except DovecoteError as error:
            failed = error
        seconds = (self._context.current_utc_datetime - began).total_seconds()
        self.steps.append(_failed_step(wish.agent, f"escalated to {wish.escalate_to}", began, seconds, str(failed)))
        content: JsonValue = {"request": wish.content, "agent": wish.agent, "reason": str(failed)}
        try:
            return (yield from self._ask(replace(wish, agent=wish.escalate_to, content=content)))
        except DovecoteError as error:
            both = f"{failed}; escalated to {wish.escalate_to!r}: {error}"
            raise TaskFailedError(both, mend=error.mend or failed.mend) from error

    def _ask(self, wish: Ask) -> _Run:
        """The agent's result; it is asked anew, as often as the patience allows, where its failure may pass."""
        retries = self._patience.ask_retries
        while True:
            answer: AgentResult | Failure = yield from self._ask_once(wish, self._next_id())
            if isinstance(answer, AgentResult):
                return answer
            if not retries or not is_retryable(named(answer.type, answer.message)):
                raise TaskFailedError(
                    f"agent {wish.agent!r} failed: {answer.type}: {answer.message}", mend=answer.mend
                )
            retries -= 1

    def _ask_once(self, wish: Ask, request_id: str) -> _Run:
        message = Message(
            id=request_id,
            type=MessageType.TASK,
            sender=self._name,
            recipient=wish.agent,
            content=wish.content,
            priority=self._task.priority,
            timestamp=self._context.current_utc_datetime,
            conversation_id=self._context.instance_id,
            causation_id=self._task.id,
            reply_to=topics.inbox(self._name),
            metadata=self._task.metadata,
        )
        began = self._context.current_utc_datetime
        # One that was found in this plan runs; of another the first try makes sure.
        agent = wish.agent if wish.agent in self._found else None
        asking = Asking(self._context, message, self._patience)
        reply = yield from asking.until_answered(agent, wish.timeout or self._patience.ask_timeout)
        if reply["type"] == MessageType.ERROR:
            failure = Failure.model_validate(reply["content"])
            self.steps.append(_failed_step(wish.agent, "ask", began, 0, failure.message))
            return failure
        result = AgentResult.model_validate(reply["content"])
        self.steps += result.steps
        return result

    def _call(self, wish: CallTool, call_id: str) -> _Run:
        began = self._context.current_utc_datetime
        request = ToolRequest(
            id=call_id,
            arguments=wish.arguments,
            task_id=self._context.instance_id,
            metadata=self._task.metadata,
        )
        data: dict[str, JsonValue] = {
            "tool": wish.tool,
            "function": wish.function,
            "request": request.model_dump(mode="json"),
        }
        said = yield self._context.call_activity("call", data, self._patience.tries)
        outcome = ToolOutcome.model_validate(said)
        seconds = (self._context.current_utc_datetime - began).total_seconds()
        step = Step(
            agent=self._name,
            kind="tool",
            name=f"{wish.tool}_{wish.function}",
            started=began,
            seconds=round(seconds, 4),
            arguments=dict(wish.arguments),
            error=outcome.error.message if outcome.error else "",
        )
        self.steps.append(step)
        if outcome.error:
            raise TaskFailedError(f"tool {wish.tool!r} failed: {outcome.error.message}", mend=outcome.error.mend)
        return outcome.result

    def _wait(self, event: str, timeout: float, what: str) -> _Run:
        try:
            return (yield self._context.wait_for_external_event(event, timedelta(seconds=timeout)))
        except TimeoutError:
            raise DeadlineError(f"{what} did not come within {timeout:g} s") from None

    def _gather(self, runs: Sequence[_Run]) -> _Run:
        """Advance several runs, each as soon as what it waits for is done; the first error ends it."""
        results: list[Any] = [None] * len(runs)
        waiting: list[tuple[Any, int]] = []
        ready: list[tuple[int, Any, Exception | None]] = [(i, None, None) for i in range(len(runs))]
        while ready or waiting:
            if not ready:
                done = yield self._context.when_any([task for task, _ in waiting])
                ready = [self._outcome(task, index) for task, index in waiting if task is done]
                waiting = [(task, index) for task, index in waiting if task is not done]
            index, value, failed = ready.pop()
            try:
                task = runs[index].throw(failed) if failed else runs[index].send(value)
                waiting.append((task, index))
            except StopIteration as stop:
                results[index] = stop.value
        return results

    def _outcome(self, task: Any, index: int) -> tuple[int, Any, Exception | None]:
        try:
            return index, self._context.result_of(task), None
        except (DovecoteError, TimeoutError) as error:
            return index, None, error


def _failed_step(agent: str, name: str, began: datetime, seconds: float, error: str) -> Step:
    return Step(agent=agent, kind="agent", name=name, started=began, seconds=round(seconds, 4), error=error)


def _json(content: Mapping[str, Any] | str | BaseModel) -> JsonValue:
    if isinstance(content, BaseModel):
        content = content.model_dump(mode="json", exclude_none=True)
    return content if isinstance(content, str) else dict(content)
