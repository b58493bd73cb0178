"""The in-memory ports, beyond what every port does."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, JsonValue

from dovecote import (
    Agent,
    App,
    Message,
    MessageType,
    Orchestrator,
    PlanContext,
    Priority,
    Reject,
    Tools,
    Write,
    topics,
)
from dovecote.delivery import Deliveries
from dovecote.errors import ConfigurationError, DeadlineError, ModelError, UnavailableError
from dovecote.ports import ChatMessage, Handler, Retry, Steps, Subscription, WorkflowContext
from dovecote.testing import (
    Clock,
    Membership,
    MemoryBus,
    MemoryState,
    MemoryWorkflows,
    Network,
    ScriptedModel,
    tool_call,
)
from services.directory.main import app as directory
from tests.support.eventually import eventually

TOPIC = "some/topic"


class Empty(BaseModel):
    """The content of a task that needs none."""


def _message(content: Any = None) -> Message:
    return Message(type=MessageType.EVENT, sender="tests", content=content)


def _join(bus: MemoryBus, app_id: str, handler: Handler, *, dead_letter: bool = True) -> Membership:
    subscription = Subscription(TOPIC, handler, dead_letter=dead_letter)
    return bus.join(app_id, [subscription], Deliveries(app_id, bus, 10))


def _keeping(seen: list[Any]) -> Handler:
    async def keep(message: Message) -> None:
        seen.append(message.content)

    return keep


async def test_replicas_of_an_app_compete_and_apps_do_not() -> None:
    bus, one, two, other = MemoryBus(), list[Any](), list[Any](), list[Any]()
    _join(bus, "app", _keeping(one))
    _join(bus, "app", _keeping(two))
    _join(bus, "other", _keeping(other))
    await bus.publish_batch(TOPIC, [_message(number) for number in range(10)])
    await bus.settled()
    assert sorted(one + two) == sorted(other) == list(range(10))
    assert len(one) == len(two) == 5


async def test_what_is_published_in_another_lane_is_of_the_same_topic() -> None:
    bus, seen = MemoryBus(), list[Any]()
    await bus.publish(TOPIC, _message("soon").model_copy(update={"priority": Priority.HIGH}))
    await bus.publish(TOPIC, _message("later"))
    bus.join("app", Subscription(TOPIC, _keeping(seen)).in_each_lane(), Deliveries("app", bus, 10))
    await bus.settled()
    assert sorted(seen) == ["later", "soon"]
    assert [event["data"] for event in bus.events(TOPIC)] == ["soon", "later"]


async def test_what_was_published_before_an_app_came_waits_for_it() -> None:
    bus, seen = MemoryBus(), list[Any]()
    await bus.publish(TOPIC, _message(1))
    place = _join(bus, "app", _keeping(seen))
    await bus.settled()
    await place.leave()
    await bus.publish(TOPIC, _message(2))
    assert seen == [1]
    _join(bus, "app", _keeping(seen))
    await bus.settled()
    assert seen == [1, 2]


async def test_what_a_replica_was_handling_when_it_left_goes_to_another() -> None:
    bus, seen, began = MemoryBus(), list[Any](), asyncio.Event()

    async def hang(_: Message) -> None:
        began.set()
        await asyncio.Event().wait()

    leaving = _join(bus, "app", hang)
    await bus.publish(TOPIC, _message("work"))
    await asyncio.wait_for(began.wait(), 5)
    _join(bus, "app", _keeping(seen))
    await leaving.leave()
    await bus.settled()
    assert seen == ["work"]


async def test_a_message_is_tried_so_many_times_and_then_a_dead_letter() -> None:
    bus, tries = MemoryBus(attempts=4), list[Any]()

    async def fail(message: Message) -> None:
        tries.append(message.content)
        raise UnavailableError("never")

    _join(bus, "app", fail)
    message = _message("x")
    await bus.publish(TOPIC, message)
    await bus.settled()
    assert tries == ["x"] * 4
    assert [event["id"] for event in bus.events(topics.DEAD_LETTERS)] == [message.id]
    assert len(bus.events(topics.FAILURES)) == 4


async def test_without_dead_letters_what_fails_is_gone_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    bus = MemoryBus()

    async def refuse(_: Message) -> None:
        raise Reject("no")

    _join(bus, "app", refuse, dead_letter=False)
    await bus.publish(TOPIC, _message())
    await bus.settled()
    assert bus.events(topics.DEAD_LETTERS) == []
    assert "an event on some/topic is dropped" in caplog.text


async def test_a_bus_that_is_not_available_takes_nothing() -> None:
    bus = MemoryBus()
    bus.available = False
    with pytest.raises(UnavailableError, match="'some/topic'"):
        await bus.publish(TOPIC, _message())
    assert bus.events(TOPIC) == []


async def test_a_value_lives_as_long_as_the_clock_says() -> None:
    clock = Clock()
    state = MemoryState(clock)
    await state.write(Write("a", 1, ttl=60), Write("b", 2))
    clock.advance(59)
    assert state.values() == {"a": 1, "b": 2}
    clock.advance(1)
    assert state.values() == {"b": 2}
    await state.write(Write("a", 3, create=True))


async def test_a_value_that_is_read_may_be_changed_without_changing_the_store() -> None:
    state, rows = MemoryState(), list[JsonValue]([1])
    await state.write(Write("a", {"rows": rows}))
    rows.append(2)
    item = await state.get("a")
    assert item is not None
    item.value["rows"].append(3)
    assert state.values() == {"a": {"rows": [1]}}


async def test_who_waits_for_a_moment_goes_on_when_the_clock_jumps_over_it() -> None:
    clock = Clock()
    waiting = asyncio.create_task(clock.wait_until(clock.now().replace(year=2200)))
    await asyncio.sleep(0)
    clock.advance(3600)
    await asyncio.sleep(0)
    assert not waiting.done()
    clock.advance(300 * 366 * 24 * 3600)
    await asyncio.wait_for(waiting, 5)


async def _run(workflow: Any, activity: Any, data: Any = None) -> MemoryWorkflows:
    engine = MemoryWorkflows()
    engine.register("w", workflow)
    engine.register_activity("do", activity)
    await engine.schedule("w", data, instance_id="i")
    return engine


async def _done(data: Any) -> Any:
    return data


async def test_a_run_survives_a_restart_at_every_step() -> None:
    ran: list[int] = []

    def workflow(context: WorkflowContext, data: Any) -> Steps:
        total = 0
        for number in range(4):
            total += yield context.call_activity("do", number)
            event = yield context.wait_for_external_event("go")
            total += event["n"]
        return total

    async def activity(number: int) -> int:
        ran.append(number)
        return number

    engine = await _run(workflow, activity)
    for number in range(4):
        await engine.restart()
        await engine.raise_event("i", "go", {"n": 10})
        steps = 2 * (number + 1)
        await eventually(lambda: len(engine.history("i").history) >= steps, f"{steps} steps")  # noqa: B023 - awaited at once
        await engine.restart()
    assert (await engine.finished("i")).output == 46
    assert sorted(set(ran)) == [0, 1, 2, 3]


async def test_a_pause_of_an_hour_takes_no_time_when_the_clock_is_moved() -> None:
    def workflow(context: WorkflowContext, data: Any) -> Steps:
        began = context.current_utc_datetime
        yield context.create_timer(timedelta(hours=1))
        return (context.current_utc_datetime - began).total_seconds()

    clock = Clock()
    engine = MemoryWorkflows(clock)
    engine.register("w", workflow)
    await engine.schedule("w", None, instance_id="i")
    await asyncio.sleep(0)
    clock.advance(3601)
    status = await asyncio.wait_for(engine.finished("i"), 5)
    assert isinstance(status.output, float)
    assert 3601 <= status.output < 3700


@pytest.mark.parametrize("kind", ["other data", "fewer actions", "more time"])
async def test_a_workflow_that_is_not_deterministic_fails_and_says_where(kind: str) -> None:
    replays = 0

    def workflow(context: WorkflowContext, data: Any) -> Steps:
        nonlocal replays
        replays += 1
        if kind == "fewer actions" and replays > 1:
            return "nothing"
        yield context.call_activity("do", replays if kind == "other data" else 0)
        if kind == "more time" and replays > 2:
            yield context.wait_for_external_event("e")
        yield context.call_activity("do", 1)
        return None

    engine = await _run(workflow, _done)
    status = await asyncio.wait_for(engine.finished("i"), 5)
    assert status.status == "failed"
    assert "workflow 'w', run 'i': action" in status.error
    assert "replayed, it is" in status.error


async def test_a_workflow_that_yields_something_else_fails_and_says_what() -> None:
    def workflow(context: WorkflowContext, data: Any) -> Any:
        yield 17

    engine = await _run(workflow, _done)
    assert "a workflow yields what its context gave it, not 17" in (await engine.finished("i")).error


async def test_what_is_no_json_does_not_cross_the_engine() -> None:
    def workflow(context: WorkflowContext, data: Any) -> Any:
        return (yield context.call_activity("do", None, Retry(attempts=1)))

    async def activity(_: Any) -> Any:
        return object()

    engine = await _run(workflow, activity)
    assert "Unable to serialize unknown type" in (await engine.finished("i")).error


async def test_unknown_workflows_and_activities_are_named() -> None:
    def workflow(context: WorkflowContext, data: Any) -> Any:
        return (yield context.call_activity("dance", None, Retry(attempts=1)))

    engine = await _run(workflow, _done)
    assert "there is no activity 'dance'; there are: do" in (await engine.finished("i")).error
    with pytest.raises(ConfigurationError, match="there is no workflow 'v'; there are: w"):
        await engine.schedule("v", None, instance_id="j")


USER = [ChatMessage(role="user", content="Why?")]


async def test_a_scripted_model_gives_its_answers_in_order_and_keeps_the_calls() -> None:
    model = ScriptedModel("one", tool_call("find", query="x"), ModelError("three"))
    assert (await model.complete(USER, [])).text == "one"
    (call,) = (await model.complete(USER, [])).tool_calls
    assert (call.name, call.arguments) == ("find", '{"query": "x"}')
    with pytest.raises(ModelError, match="three"):
        await model.complete(USER, [])
    assert [call.messages[0].content for call in model.calls] == ["Why?"] * 3


async def test_a_script_that_is_over_says_so() -> None:
    model = ScriptedModel("one")
    await model.complete(USER, [])
    with pytest.raises(ModelError, match="the script has 1 answers, and this is call 2"):
        await model.complete(USER, [])


async def test_a_function_may_answer_for_the_model() -> None:
    async def answer(messages: Sequence[ChatMessage], _: Any) -> str:
        return messages[0].content.upper()

    model = ScriptedModel(answer)
    assert [(await model.complete(USER, [])).text for _ in range(2)] == ["WHY?", "WHY?"]


def test_a_network_without_a_directory_says_which_apps_need_one() -> None:
    with pytest.raises(ConfigurationError, match="clerk, shelf cannot be found") as caught:
        Network([Agent("clerk", instructions=""), Tools("shelf")])
    assert "services.directory.main" in caught.value.mend


def test_a_network_has_each_app_object_once() -> None:
    app = App("a")
    with pytest.raises(ConfigurationError, match="app 'a' is given twice"):
        Network([app, app])


async def test_what_is_no_app_of_ours_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'Foreign' is not an app of Dovecote"):
        Network([FastAPI(title="Foreign")])


async def test_an_unknown_or_stopped_app_is_named() -> None:
    async with Network([App("a"), App("b")]) as net:
        with pytest.raises(ConfigurationError, match="no app 'c'; it has: a, b"):
            net.state("c")
        with pytest.raises(ConfigurationError, match="'a' is running already"):
            await net.start("a")
        await net.stop("a")
        with pytest.raises(ConfigurationError, match="'a' is not running"):
            net.http("a")
        with pytest.raises(ConfigurationError, match="'a' is not running"):
            await net.stop("a")
        with pytest.raises(ConfigurationError, match="has 0 orchestrators"):
            await net.ask({})


async def test_each_agent_may_have_a_model_of_its_own() -> None:
    clerk = Agent("clerk", instructions="")
    async with Network([directory, clerk], model={"clerk": ScriptedModel("mine")}):
        model = clerk.app.state.dovecote.running.ports.model
        assert (await model.complete(USER, [])).text == "mine"


async def test_a_state_outlives_a_stop_of_its_app() -> None:
    app = App("a")
    async with Network([app]) as net:
        await app.running.ports.state.write(Write("k", 1))
        await net.stop("a")
        assert net.state("a").values() == {"k": 1}
        await net.start("a")
        assert await app.running.ports.state.get("k") is not None


async def test_an_app_that_does_not_run_says_so() -> None:
    with pytest.raises(ConfigurationError, match="app 'a' is not running"):
        _ = App("a").running


async def test_a_task_that_takes_too_long_says_what_it_waits_for() -> None:
    lead = Orchestrator("lead")

    @lead.plan(Empty)
    def plan(ctx: PlanContext, content: Empty) -> Any:
        yield ctx.approve("budget", timeout=100)

    async with Network([lead]) as net:
        with pytest.raises(DeadlineError, match=r"took over 0\.2 s; it asked last for 'approval\.budget'"):
            await net.ask({}, limit=0.2)
