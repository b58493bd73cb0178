"""An orchestrator and the tasks it takes, in memory."""

import asyncio
from typing import Any

import pytest

from dovecote import App, Message, MessageType, Orchestrator, PlanContext, topics
from dovecote.errors import ConfigurationError, InvalidInputError, NotFoundError
from dovecote.messages import new_id
from dovecote.results import TaskResult
from tests.support.eventually import eventually
from tests.support.plans import CALLS, Job, Steps, asking, run, running


async def test_a_reply_that_comes_again_changes_nothing() -> None:
    async with running(asking()) as net:
        result = await net.ask({})
        again = net.bus.events(topics.inbox("lead"))
        for event in again:
            await net.bus.publish_event(topics.inbox("lead"), event)
        await net.bus.settled()
        assert await net.result(result.task_id) == result


async def test_a_task_that_comes_twice_runs_once() -> None:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        return (yield ctx.call("bench", "saw", wood=job.what))

    async with running(plan) as net:
        for _ in range(3):
            await net.invoke("lead", "tasks", {"id": "t1", "content": {}})
            await net.result("t1")
        assert CALLS == ["oak"]


async def test_a_restart_in_the_middle_of_a_plan_goes_on_from_there() -> None:
    going, go = asyncio.Event(), asyncio.Event()

    async def slow(messages: Any, _: Any) -> str:
        going.set()
        await go.wait()
        return "done"

    def plan(ctx: PlanContext, job: Job) -> Steps:
        wood = yield ctx.call("bench", "saw", wood=job.what)
        answer = yield ctx.ask("ann", "go")
        return [wood, answer.text]

    async with running(plan, slow) as net:
        pending = asyncio.create_task(net.ask({}))
        await asyncio.wait_for(going.wait(), 10)
        await net.workflows("lead").restart()
        go.set()
        assert (await pending).answer == ["sawn oak", "done"]
        assert CALLS == ["oak"]


@pytest.mark.parametrize("content", [{"what": 17}, {"what": None}])
async def test_a_task_whose_content_does_not_fit_is_refused(content: dict[str, Any]) -> None:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        yield from ()

    async with running(plan) as net:
        with pytest.raises(InvalidInputError, match="does not fit: what: Input should be a valid string"):
            await net.ask(content)


async def test_an_unknown_task_is_not_found() -> None:
    async with running(asking()) as net:
        with pytest.raises(NotFoundError, match="there is no task 'nobody'") as caught:
            await net.invoke("lead", "tasks/nobody", verb="GET")
        assert "POST /tasks" in caught.value.mend


async def test_plain_json_is_a_question_each_time_that_it_comes() -> None:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        return (yield ctx.call("bench", "saw", wood=job.what))

    async with running(plan) as net:
        for _ in range(2):
            await net.bus.publish_content(topics.QUERY_ASK, {"what": "elm"})
        await eventually(lambda: len(net.bus.events(topics.QUERY_RESPONSE)) == 2, "both answers")
        first, second = map(Message.from_cloudevent, net.bus.events(topics.QUERY_RESPONSE))
    assert first.correlation_id != second.correlation_id
    assert CALLS == ["elm", "elm"]


async def test_plain_json_with_an_id_is_one_question() -> None:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        return (yield ctx.call("bench", "saw", wood=job.what))

    async with running(plan) as net:
        for _ in range(2):
            await net.bus.publish_content(topics.QUERY_ASK, {"id": "mine", "what": "elm"})
        await net.bus.settled()
        assert (await net.result("mine")).answer == "sawn elm"
    assert CALLS == ["elm"]


@pytest.mark.parametrize("content", [{"what": "elm"}, {}])
async def test_a_stock_clients_question_is_answered_on_the_response_topic(content: dict[str, Any]) -> None:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        return (yield ctx.call("bench", "saw", wood=job.what))

    async with running(plan) as net:
        event = {"specversion": "1.0", "id": "q1", "source": "shop", "type": "com.example.asked", "data": content}
        await net.bus.publish_event(topics.QUERY_ASK, event)
        await net.bus.settled()
        result = await net.result("q1")
        (reply,) = map(Message.from_cloudevent, net.bus.events(topics.QUERY_RESPONSE))
    assert (reply.type, reply.correlation_id) == (MessageType.RESPONSE, "q1")
    assert TaskResult.model_validate(reply.content) == result
    assert result.answer == f"sawn {content.get('what', 'oak')}"


async def test_the_end_of_a_task_is_told_with_its_result() -> None:
    async with running(asking()) as net:
        result = await net.ask({})
        last = net.bus.events(topics.TASK_EVENTS)[-1]["data"]
    assert (last["kind"], last["task_id"]) == ("completed", result.task_id)
    assert TaskResult.model_validate(last["data"]["result"]) == result


async def test_a_bug_in_a_plan_fails_the_task_by_name() -> None:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        yield ctx.call("bench", "saw", wood="oak")
        raise ZeroDivisionError("by zero")

    result = await run(plan)
    assert result.status == "failed"
    assert result.error is not None
    assert "ZeroDivisionError: by zero" in result.error.message


async def test_a_plan_that_is_not_deterministic_is_found_out() -> None:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        yield ctx.call("bench", "saw", wood=new_id())
        yield ctx.call("bench", "saw", wood="oak")

    result = await run(plan)
    assert result.error is not None
    assert "action 0 was activity 'call'" in result.error.message


def test_an_orchestrator_without_a_plan_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="orchestrator 'lead' has no plan"):
        _ = Orchestrator("lead").app


def test_a_plans_decorator_returns_the_plan() -> None:
    def plan(ctx: PlanContext, job: Job) -> Steps:
        yield ctx.find("ann")

    assert Orchestrator("lead").plan(Job)(plan) is plan


@pytest.mark.parametrize("name", ["", "Lead", "lead one", "lead_one", "läd!"])
def test_a_name_that_is_no_app_id_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="is not an app-id"):
        App(name)
