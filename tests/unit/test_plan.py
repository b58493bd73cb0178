"""What a plan may wish for, in memory."""

import asyncio
from typing import Any

import pytest

from dovecote import AgentResult, Message, MessageType, PlanContext
from dovecote.errors import DovecoteError, ModelError, ModelUnavailableError, NotFoundError
from dovecote.orchestrator import PLAN
from dovecote.results import TaskResult
from dovecote.settings import Settings
from dovecote.testing import Network
from tests.support.eventually import eventually
from tests.support.plans import Job, Steps, asking, run, running


async def test_a_plan_finds_agents_by_what_they_can_do() -> None:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        return (yield ctx.find("be-ann", "bob"))

    assert (await run(plan)).answer == ["ann", "bob"]


async def test_a_plan_asks_an_agent_and_gets_its_answer() -> None:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        first = yield ctx.ask("ann", "one")
        second = yield ctx.ask("bob", {"told": first.text})
        third = yield ctx.ask("ann", job)
        return [first.text, second.text, third.text]

    result = await run(plan)
    assert result.answer == ["ann: one", "bob: Told:\nann: one", "ann: What:\noak"]
    assert [(step.agent, step.kind) for step in result.steps] == [
        ("ann", "model"),
        ("bob", "model"),
        ("ann", "model"),
    ]
    assert result.usage.model_calls == 3
    assert result.seconds is not None


async def test_a_plan_calls_a_tool_by_name_or_capability() -> None:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        return [(yield ctx.call("bench", "saw", wood=job.what)), (yield ctx.call("saw", "saw", wood="elm"))]

    result = await run(plan)
    assert result.answer == ["sawn oak", "sawn elm"]
    assert [(step.name, step.arguments) for step in result.steps] == [
        ("bench_saw", {"wood": "oak"}),
        ("saw_saw", {"wood": "elm"}),
    ]


async def test_a_tools_error_fails_the_task_with_its_reason_and_step() -> None:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        return (yield ctx.call("bench", "saw", wood="stone"))

    result = await run(plan)
    assert (result.status, result.answer) == ("failed", None)
    assert result.error is not None
    assert (result.error.type, result.error.message) == ("TaskFailedError", "tool 'bench' failed: that is no wood")
    assert [step.error for step in result.steps] == ["that is no wood"]


async def test_an_agents_error_fails_the_task_with_its_reason() -> None:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        yield ctx.ask("ann", "go")
        yield ctx.ask("bob", "stumble")

    result = await run(plan)
    assert result.error is not None
    assert result.error.message == "agent 'bob' failed: ModelError: bob cannot"
    assert [(step.agent, step.error) for step in result.steps] == [("ann", ""), ("bob", "bob cannot")]


@pytest.mark.promise("ACS-12")
@pytest.mark.parametrize(
    ("fails", "error", "asked"),
    [
        (1, ModelUnavailableError, 2),
        (2, ModelUnavailableError, 3),
        (3, ModelUnavailableError, 3),
        (1, ModelError, 1),
    ],
)
async def test_an_agent_is_asked_anew_as_often_as_the_settings_say_if_its_error_may_pass(
    fails: int, error: type[DovecoteError], asked: int
) -> None:
    calls = []

    def model(messages: Any, _: Any) -> str | Exception:
        calls.append(messages)
        return error("overloaded") if len(calls) <= fails else "here I am"

    async with running(asking(), model, ask_retries=2, model_wait=0) as net:
        result = await net.ask({})
    assert len(calls) == asked
    assert result.status == ("completed" if fails < asked else "failed")


async def test_a_task_goes_on_under_the_settings_that_it_was_accepted_under() -> None:
    calls, again = [], asyncio.Event()

    async def model(messages: Any, _: Any) -> str | Exception:
        calls.append(messages)
        if len(calls) > 1:
            await again.wait()
        return ModelUnavailableError("overloaded") if len(calls) == 1 else "here I am"

    async with running(asking(), model, ask_retries=1, model_wait=0) as net:
        task = TaskResult.model_validate(await net.invoke("lead", "tasks", {"content": {}}))
        await eventually(lambda: len(calls) == 2, "the second question")
        await net.stop("lead")
        net.settings = Settings(ask_retries=0, model_wait=0)
        await net.start("lead")
        again.set()
        assert (await net.result(task.task_id)).answer == "here I am"


async def test_a_task_that_an_earlier_version_accepted_goes_on_under_the_settings() -> None:
    async with running(asking()) as net:
        task = Message(id="t1", type=MessageType.TASK, sender="lead", content={})
        await net.workflows("lead").schedule(PLAN, task.model_dump(mode="json"), instance_id=task.id)
        assert (await net.result(task.id)).answer == "ann: go"


async def test_a_plan_may_catch_an_error_and_go_on() -> None:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        try:
            yield ctx.ask("ann", "stumble")
        except DovecoteError as error:
            other: AgentResult = yield ctx.ask("bob", str(error))
        return other.text

    result = await run(plan)
    assert result.status == "completed"
    assert result.answer == "bob: agent 'ann' failed: ModelError: ann cannot"


async def test_gathered_wishes_are_done_at_the_same_time_and_keep_their_order() -> None:
    both = asyncio.Event()
    inside: list[str] = []

    async def meet(messages: Any, _: Any) -> str:
        inside.append(messages[0].content)
        if len(inside) == 2:
            both.set()
        await asyncio.wait_for(both.wait(), 10)
        return str(messages[1].content)

    def plan(ctx: PlanContext, job: Job) -> Steps:
        one, wood, two = yield ctx.gather(
            ctx.ask("ann", "a"), ctx.call("bench", "saw", wood="oak"), ctx.ask("bob", "b")
        )
        return [one.text, wood, two.text]

    async with running(plan, meet) as net:
        assert (await net.ask({})).answer == ["a", "sawn oak", "b"]


async def test_gathers_may_lie_in_one_another() -> None:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        inner = ctx.gather(ctx.call("bench", "saw", wood="a"), ctx.call("bench", "saw", wood="b"))
        return (yield ctx.gather(inner, ctx.call("bench", "saw", wood="c"), ctx.gather()))

    assert (await run(plan)).answer == [["sawn a", "sawn b"], "sawn c", []]


async def test_one_failure_fails_what_was_gathered() -> None:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        try:
            yield ctx.gather(ctx.ask("ann", "stumble"), ctx.ask("bob", "go"))
        except DovecoteError as error:
            return str(error)

    assert (await run(plan)).answer == "agent 'ann' failed: ModelError: ann cannot"


async def test_a_plan_waits_for_somebodys_word() -> None:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        word = yield ctx.approve("budget", timeout=3600)
        empty = yield ctx.approve("budget", timeout=3600)
        return [word, empty]

    async with running(plan) as net:
        task = TaskResult.model_validate(await net.invoke("lead", "tasks", {"content": {}}))
        await net.advance(3000)
        await net.invoke("lead", f"tasks/{task.task_id}/approvals/budget", {"yes": True, "limit": 7})
        await net.invoke("lead", f"tasks/{task.task_id}/approvals/budget", {})
        assert (await net.result(task.task_id)).answer == [{"yes": True, "limit": 7}, {}]


async def test_a_word_that_does_not_come_is_a_deadline() -> None:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        return (yield ctx.approve("budget", timeout=3600))

    async with running(plan) as net:
        task = TaskResult.model_validate(await net.invoke("lead", "tasks", {"content": {}}))
        await _waiting(net, task.task_id, "approval.budget")
        await net.advance(3601)
        result = await net.result(task.task_id)
    assert result.error is not None
    assert (result.error.type, result.error.message) == (
        "DeadlineError",
        "approval 'budget' did not come within 3600 s",
    )


async def _waiting(net: Network, task_id: str, name: str) -> None:
    """Return when the last thing the task asked for is that."""

    def asked() -> list[str]:
        return [action.name for action in net.workflows("lead").history(task_id).actions][-1:]

    await eventually(lambda: asked() == [name], name)


async def test_a_word_for_an_unknown_task_is_not_found() -> None:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        yield ctx.approve("budget", timeout=1)

    async with running(plan) as net:
        with pytest.raises(NotFoundError, match="there is no task 'nobody'"):
            await net.invoke("lead", "tasks/nobody/approvals/budget", {})


async def test_an_agent_that_does_not_run_is_named_with_those_that_do() -> None:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        yield ctx.ask("zoe", "go")

    result = await run(plan, agent_wait=1)
    assert result.error is not None
    assert result.error.type == "AgentUnavailableError"
    assert result.error.message == "no running agent is called 'zoe' or has that capability"
    assert "ann (ann, be-ann), bob (bob, be-bob)" in result.error.mend
