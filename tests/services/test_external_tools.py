"""Tools that know nothing of Dovecote: they register, are called and answer in plain JSON."""

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import BaseModel

from dovecote import Agent, Message, MessageType, Orchestrator, PlanContext, topics
from dovecote.errors import NotFoundError
from dovecote.ports import Completion, Subscription, ToolCall
from services.gateway.main import app as gateway
from tests.support.eventually import eventually
from tests.support.external_tools import (
    SCALE,
    announced,
    answer,
    call_of,
    invoke,
    letters,
    register,
    running,
    weighing,
)

pytestmark = pytest.mark.promise("ARG-09")


class Job(BaseModel):
    """What is to be weighed."""

    what: str = "feather"


def _orchestrator() -> Orchestrator:
    lead = Orchestrator("lead")

    @lead.plan(Job)
    def weigh(ctx: PlanContext, job: Job) -> Generator[Any, Any, Any]:
        return (yield ctx.call("scale", "scale", what=job.what))

    return lead


async def test_a_plan_calls_a_tool_that_only_knows_the_broker() -> None:
    async with running(_orchestrator()) as net:
        await register(net)
        async with weighing(net, lambda arguments: {"result": {"grams": len(arguments["what"])}}):
            result = await net.ask({"what": "anvil"})
    assert result.error is None
    assert result.answer == {"grams": 5}


async def test_an_agent_is_offered_the_tool_by_its_name_and_uses_it() -> None:
    def think(messages: Any, tools: Any) -> Any:
        if messages[-1].role == "tool":
            return messages[-1].content
        assert tools[0].name == "gateway_scale"
        assert tools[0].description == SCALE["description"]
        return Completion(
            text="", tool_calls=[ToolCall(id="1", name="gateway_scale", arguments='{"what": "anvil"}')]
        )

    lead = Orchestrator("lead")

    @lead.plan(Job)
    def weigh(ctx: PlanContext, job: Job) -> Generator[Any, Any, Any]:
        return (yield ctx.ask("clerk", job)).text

    clerk = Agent("clerk", instructions="Weigh.", uses=["scale"])
    async with running(lead, clerk, model=think) as net:
        await register(net)
        async with weighing(net, lambda _: {"result": "5 g"}):
            result = await net.ask({})
    assert result.error is None
    assert "5 g" in str(result.answer)


async def test_a_call_carries_its_id_and_arguments_in_plain_json() -> None:
    async with running() as net:
        await register(net, id="s-1")
        calling = asyncio.create_task(invoke(net, id="call-7"))
        call = await call_of(net, tool_id="s-1")
        assert call == {
            "id": "call-7",
            "task_id": "call-7",
            "tool_id": "s-1",
            "tool_name": "scale",
            "arguments": {"what": "feather"},
        }
        await answer(net, {"id": "call-7", "result": 0.1}, "s-1")
        assert await calling == {"result": 0.1, "error": None}
    news = net.bus.events(topics.AGENT_STATUS)
    assert news == [{"type": "TOOL_REGISTERED", "tool_name": "scale", "tool_id": "s-1"}]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"error": "it is broken"}, "it is broken"),
        ({"error": {"message": "it is broken", "code": 7}}, "it is broken"),
        ({"error": {"code": 7}}, '{"code": 7}'),
        ({"result": None, "error": None}, None),
        ({"result": [1, "ü"]}, None),
    ],
)
async def test_an_answer_is_a_result_or_an_error(content: dict[str, Any], error: str | None) -> None:
    async with running() as net:
        await register(net)
        async with weighing(net, lambda _: content):
            outcome = await invoke(net)
    assert outcome["result"] == (None if error else content["result"])
    assert (outcome["error"] and outcome["error"]["message"]) == error


async def test_arguments_that_do_not_fit_the_schema_are_refused_and_not_sent() -> None:
    async with running() as net:
        await register(net)
        outcome = await invoke(net, arguments={"weight": 1})
        assert outcome["error"]["type"] == "InvalidInputError"
        assert "'what' is a required property" in outcome["error"]["message"].replace('"', "'")
        assert net.bus.events(topics.tool_calls("scale")) == []


async def test_a_call_is_sent_again_until_it_is_answered_and_the_same_id_is_the_same_call() -> None:
    async with running() as net:
        await register(net)
        calling = asyncio.create_task(invoke(net, id="c"))
        assert await call_of(net, 2) == await call_of(net, 0)
        await answer(net, {"id": "c", "result": 1})
        await answer(net, {"id": "c", "result": 2})
        assert (await calling)["result"] == 1
        sent = len(net.bus.events(topics.tool_calls("scale")))
        assert (await invoke(net, id="c"))["result"] == 1
        assert len(net.bus.events(topics.tool_calls("scale"))) == sent


async def test_a_tool_that_does_not_answer_is_given_up_and_its_late_answer_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running() as net:
        await register(net, timeout=0.3)
        outcome = await invoke(net, id="c")
        assert (outcome["error"]["type"], outcome["error"]["message"]) == (
            "DeadlineError",
            "tool 'scale' did not answer within 0.3 s",
        )
        await answer(net, {"id": "c", "result": 1})
        await answer(net, {"id": "never made", "result": 1})
        await net.bus.settled()
        assert await invoke(net, id="c") == outcome
    assert "answers call 'c' in another way, or too late" in caplog.text
    assert "answers call 'never made', which it was not sent" in caplog.text


async def test_a_tool_cannot_answer_the_call_of_another() -> None:
    async with running() as net:
        await register(net)
        await register(net, name="rogue")
        calling = asyncio.create_task(invoke(net, id="c"))
        await call_of(net)
        await answer(net, {"id": "c", "result": "wrong"}, "rogue")
        await net.bus.settled()
        await answer(net, {"id": "c", "result": "right"})
        assert (await calling)["result"] == "right"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("weigh", "ToolRegistration does not fit"),
        ({"description": "no name"}, "name: Field required"),
        ({"name": "my scale", "description": "x"}, "name: String should match pattern"),
        ({"name": "scale"}, "description: Field required"),
        ({"name": "scale", "description": "x", "id": "a/b"}, "id: String should match pattern"),
        ({"name": "scale", "description": "x", "parameters": {"type": "objekt"}}, "parameters: Value error"),
        ({"name": "scale", "description": "x", "parameters": "{"}, "parameters: Value error"),
        ({"name": "scale", "description": "x", "parameters": {"$ref": "http://127.0.0.1:9/a"}}, "another document"),
        ({"name": "scale", "description": "x", "lease": -1}, "lease: Input should be greater than 0"),
        ({"unregister": True}, "name: Field required"),
    ],
)
async def test_a_registration_that_does_not_fit_is_a_dead_letter_with_its_reason(content: Any, reason: str) -> None:
    async with running() as net:
        await net.bus.publish_event(topics.TOOL_REGISTRATIONS, content)
        letter = await letters(net, content)
        assert letter["message"]["content"] == content
        assert reason in letter["reasons"][0]["reason"]
        with pytest.raises(NotFoundError, match="no external tool is called 'scale'"):
            await invoke(net)


@pytest.mark.parametrize("content", ["what?", {"result": 1}, {"id": "c"}, {"id": {}, "result": 1}])
async def test_an_answer_that_cannot_be_read_is_a_dead_letter(content: Any) -> None:
    async with running() as net:
        await register(net)
        await answer(net, content)
        letter = await letters(net, content)
        assert letter["reasons"][0]["topic"] == "agent/tools/response/scale"


async def test_two_tools_cannot_have_one_id() -> None:
    async with running() as net:
        await register(net)
        thief = SCALE | {"name": "thief", "id": "scale"}
        await net.bus.publish_content(topics.TOOL_REGISTRATIONS, thief)
        letter = await letters(net, thief)
        assert "'scale' has it" in letter["reasons"][0]["reason"]


async def test_the_names_that_argentic_has_for_the_fields_are_taken() -> None:
    registration: dict[str, Any] = {
        "type": "REGISTER_TOOL",
        "tool_name": "Scale_2",
        "tool_manual": "Weighs.",
        "tool_api": '{"type": "object", "properties": {"what": {"type": "string"}}}',
    }
    async with running() as net:
        await net.bus.publish_content(topics.TOOL_REGISTRATIONS, registration)
        (row,) = await eventually(lambda: announced(net), "the registration")
        assert (row.app_id, row.kind, row.capabilities, row.description) == (
            "gateway",
            "tool",
            ["Scale_2"],
            "Weighs.",
        )
        assert row.tools[0].parameters["properties"] == {"what": {"type": "string"}}
        calling = asyncio.create_task(invoke(net, "Scale_2", id="c"))
        await call_of(net, tool_id="scale_2")
        await answer(net, {"task_id": "c", "tool_id": "scale_2", "result": 3, "status": "success"}, "scale_2")
        assert (await calling)["result"] == 3


async def test_a_registration_comes_again_with_other_words() -> None:
    async with running() as net:
        await register(net)
        await register(net, description="Weigh better.")
        (row,) = await announced(net)
        assert row.description == "Weigh better."


async def test_an_unregistered_tool_is_gone() -> None:
    async with running() as net:
        await register(net)
        assert await announced(net)
        await register(net, unregister=True)
        assert await announced(net) == []
        assert net.bus.events(topics.AGENT_STATUS)[-1]["type"] == "TOOL_UNREGISTERED"
        with pytest.raises(NotFoundError, match="no external tool is called 'scale'") as caught:
            await invoke(net)
        assert caught.value.mend == "registered: none"


async def test_a_tool_with_a_lease_is_gone_when_it_does_not_renew_it() -> None:
    async with running(heartbeat=0.1) as net:
        await register(net, lease=1)
        await register(net, name="other")

        async def names() -> list[str]:
            return [row.capabilities[0] for row in await announced(net)]

        assert sorted(await names()) == ["other", "scale"]

        async def lapsed() -> bool:
            return await names() == ["other"]

        await eventually(lapsed, "the end of the lease")


async def test_a_tool_whose_answers_cannot_be_heard_yet_does_not_make_the_others_lapse() -> None:
    asked, opened = asyncio.Event(), asyncio.Event()

    async def names() -> list[str]:
        return sorted(row.capabilities[0] for row in await announced(net))

    async def only_scale() -> bool:
        return await names() == ["scale"]

    async def both() -> bool:
        return await names() == ["scale", "stuck"]

    async with running() as net:
        await register(net)
        ports = gateway.state.dovecote.running.ports
        listen = ports.listen

        @asynccontextmanager
        async def hang(subscription: Subscription) -> AsyncIterator[None]:
            asked.set()
            await opened.wait()
            async with listen(subscription):
                yield

        ports.listen = hang
        await net.bus.publish_content(topics.TOOL_REGISTRATIONS, SCALE | {"name": "stuck"})
        await asked.wait()
        net.clock.advance(60)
        await eventually(only_scale, "the lease of the one that is heard, renewed")
        opened.set()
        await eventually(both, "the announcement of the other")


async def test_a_tool_that_registers_with_another_id_is_announced_once() -> None:
    async with running() as net:
        await register(net)
        await register(net, id="s-2")
        assert len(await announced(net)) == 1
        calling = asyncio.create_task(invoke(net, id="c"))
        await call_of(net, tool_id="s-2")
        await answer(net, {"id": "c", "result": 1}, "s-2")
        assert (await calling)["result"] == 1


async def test_a_gateway_that_starts_again_still_knows_the_tools() -> None:
    async with running(_orchestrator()) as net:
        await register(net)
        await net.stop("gateway")
        assert await announced(net) == []
        await net.start("gateway")
        await eventually(lambda: announced(net), "the announcement")
        async with weighing(net, lambda _: {"result": 1}):
            assert (await net.ask({})).answer == 1


async def test_a_cloud_event_registers_and_answers_as_well() -> None:
    async with running() as net:
        registration = Message(type=MessageType.EVENT, sender="shop", content=SCALE)
        await net.bus.publish(topics.TOOL_REGISTRATIONS, registration)
        await eventually(lambda: announced(net), "the registration")
        calling = asyncio.create_task(invoke(net, id="c"))
        await call_of(net)
        reply = Message(type=MessageType.RESPONSE, sender="shop", content={"id": "c", "result": 1})
        await net.bus.publish(topics.tool_responses("scale"), reply)
        assert (await calling)["result"] == 1
