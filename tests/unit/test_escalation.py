"""What becomes of a task whose agent fails for good: it is escalated, where the plan says to whom."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dovecote import AgentResult, PlanContext
from dovecote.errors import ModelUnavailableError
from dovecote.results import TaskResult
from tests.support.eventually import eventually
from tests.support.plans import Job, Steps, obey, run, running

pytestmark = pytest.mark.promise("ACS-12")
REASON = "agent 'ann' failed: ModelError: ann cannot"


def _escalating(content: Any = "stumble", agent: str = "ann", timeout: float | None = None) -> Any:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        answer: AgentResult = yield ctx.ask(agent, content, timeout=timeout, escalate_to="bob")
        return [answer.agent, answer.text]

    return plan


def _model(ann: Callable[[], str | Exception | Awaitable[str]]) -> tuple[Any, list[str]]:
    """A model that answers for ann as told, and for everybody else with "decided"; and what those were told."""
    told: list[str] = []

    async def model(messages: Any, _: Any) -> str | Exception:
        if "ann" in messages[0].content:
            answer = ann()
            return await answer if isinstance(answer, Awaitable) else answer
        told.append(messages[1].content)
        return "decided"

    return model, told


def _steps(result: TaskResult) -> list[tuple[str, str, str]]:
    return [(step.agent, step.name, step.error) for step in result.steps if step.kind == "agent"]


async def test_who_decides_is_told_what_was_asked_whom_and_why_that_failed() -> None:
    calls: list[int] = []

    def ann() -> Exception:
        calls.append(1)
        return ModelUnavailableError("overloaded")

    model, told = _model(ann)
    async with running(_escalating({"question": "why?"}), model, ask_retries=2, model_wait=0) as net:
        result = await net.ask({})
    reason = "agent 'ann' failed: ModelUnavailableError: overloaded"
    assert result.answer == ["bob", "decided"]
    assert told == [f"Request:\nQuestion:\nwhy?\n\nAgent:\nann\n\nReason:\n{reason}"]
    assert len(calls) == 3
    assert _steps(result) == [("ann", "ask", "overloaded")] * 3 + [("ann", "escalated to bob", reason)]


async def test_what_takes_too_long_is_escalated() -> None:
    asked = asyncio.Event()

    async def hang() -> str:
        asked.set()
        await asyncio.Event().wait()
        return "never"

    model, told = _model(hang)
    async with running(_escalating("go", timeout=45), model) as net:
        pending = asyncio.create_task(net.ask({}))
        await asyncio.wait_for(asked.wait(), 10)
        await net.advance(46)
        result = await pending
    assert (result.answer, len(told)) == (["bob", "decided"], 1)
    assert _steps(result) == [("ann", "escalated to bob", "agent 'ann' did not answer in time")]


async def test_what_is_asked_of_nobody_who_runs_is_escalated() -> None:
    model, told = _model(lambda: "hello")
    async with running(_escalating("go", agent="zoe"), model, agent_wait=1) as net:
        result = await net.ask({})
    assert (result.answer, len(told)) == (["bob", "decided"], 1)
    assert _steps(result)[0][2] == "no running agent is called 'zoe' or has that capability"


async def test_an_answer_is_escalated_to_nobody() -> None:
    model, told = _model(lambda: "hello")
    async with running(_escalating(), model) as net:
        assert (await net.ask({})).answer == ["ann", "hello"]
    assert told == []


async def test_if_who_decides_fails_too_both_reasons_are_told() -> None:
    result = await run(_escalating())
    assert result.error is not None
    both = f"{REASON}; escalated to 'bob': agent 'bob' failed: ModelError: bob cannot"
    assert (result.status, result.error.type, result.error.message) == ("failed", "TaskFailedError", both)


async def test_of_several_asked_at_once_only_the_one_that_fails_is_escalated() -> None:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        first, second = yield ctx.gather(
            ctx.ask("ann", "go", escalate_to="bob"), ctx.ask("zoe", "go", escalate_to="ann")
        )
        return [first.agent, second.agent]

    assert (await run(plan, agent_wait=1)).answer == ["ann", "ann"]


async def test_an_orchestrator_that_is_restarted_escalates_once() -> None:
    deciding, decide = asyncio.Event(), asyncio.Event()
    calls: list[str] = []

    async def model(messages: Any, given: Any) -> str | Exception:
        if "bob" in messages[0].content:
            deciding.set()
            await decide.wait()
            calls.append("bob")
            return "decided"
        calls.append("ann")
        return obey(messages, given)

    async with running(_escalating(), model) as net:
        task = TaskResult.model_validate(await net.invoke("lead", "tasks", {"content": {}}))
        await asyncio.wait_for(deciding.wait(), 10)
        await net.stop("lead")
        decide.set()
        await eventually(lambda: calls == ["ann", "bob"], "the decision")
        await net.start("lead")
        assert (await net.result(task.task_id)).answer == ["bob", "decided"]
    assert calls == ["ann", "bob"]
