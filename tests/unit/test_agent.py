"""The agent's loop, in memory with a scripted model."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dovecote import Agent, Budget, Call, Message, MessageType, ToolError, Tools, topics
from dovecote.acceptance import LARGEST
from dovecote.errors import ModelError, ModelUnavailableError
from dovecote.messages import new_id
from dovecote.ports import Completion, Model, Usage
from dovecote.results import AgentResult, Failure
from dovecote.testing import Network, ScriptedModel, tool_call, tool_calls
from services.directory.main import app as directory

REPLIES = "tests/replies"
shelf = Tools("shelf", capabilities=["search"])
RUNS: list[str] = []
GATE = asyncio.Event()


@shelf.tool
async def find(query: str) -> dict[str, Any]:
    """Passages on a query."""
    RUNS.append(query)
    return {"passages": [{"source": f"{query}.md:1-2", "text": f"All of {query}."}]}


@shelf.tool
async def refuse(why: str) -> None:
    """Fail."""
    RUNS.append(why)
    raise ToolError(f"not with {why}")


@shelf.tool
async def meet(name: str, call: Call) -> str:
    """Wait until two are here."""
    RUNS.append(name)
    if len(RUNS) == 2:
        GATE.set()
    await asyncio.wait_for(GATE.wait(), 5)
    return name


clerk = Agent("clerk", instructions="Be brief.", uses=["search"], capabilities=["answer"])
miser = Agent(
    "miser",
    instructions="Be brief.",
    uses=["shelf"],
    budget=Budget(steps=3, model_calls=3, tokens=100, seconds=60, repeats=2, context=600, tool_result=120),
)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    RUNS.clear()


class Desk:
    """Asks agents by message, and reads their replies."""

    def __init__(self, model: Model) -> None:
        self.net = Network([directory, shelf, clerk, miser], model=model)

    async def ask(self, content: Any, agent: str = "clerk", task_id: str = "", **fields: Any) -> Message:
        task = Message(
            id=task_id or new_id(),
            type=MessageType.TASK,
            sender="tests",
            content=content,
            reply_to=REPLIES,
            conversation_id="task-1",
            **fields,
        )
        await self.net.bus.publish(topics.inbox(agent), task)
        await self.net.bus.settled()
        await asyncio.wait_for(self.net.workflows(agent).finished(task.id), 20)
        return self.replies(task.id)[0]

    def replies(self, task_id: str) -> list[Message]:
        messages = [Message.from_cloudevent(event) for event in self.net.bus.events(REPLIES)]
        return [message for message in messages if message.correlation_id == task_id]


class Desks:
    """Opens a desk with a model, and closes it at the end of the test."""

    def __init__(self) -> None:
        self.open: list[Network] = []

    async def __call__(self, *answers: Any) -> Desk:
        desk = Desk(
            answers[0] if len(answers) == 1 and isinstance(answers[0], ScriptedModel) else ScriptedModel(*answers)
        )
        self.open.append(await desk.net.__aenter__())
        return desk


@pytest.fixture
async def desks() -> AsyncIterator[Desks]:
    made = Desks()
    yield made
    for net in made.open:
        await net.__aexit__(None, None, None)


def _result(reply: Message) -> AgentResult:
    assert reply.type is MessageType.RESPONSE, reply.content
    return AgentResult.model_validate(reply.content)


def _failure(reply: Message) -> Failure:
    assert reply.type is MessageType.ERROR, reply.content
    return Failure.model_validate(reply.content)


async def test_an_answer_without_tools_takes_one_model_call(desks: Desks) -> None:
    model = ScriptedModel("Because.")
    desk = await desks(model)
    result = _result(await desk.ask({"question": "Why?"}))
    assert (result.agent, result.text, result.sources) == ("clerk", "Because.", [])
    assert [(step.kind, step.name) for step in result.steps] == [("model", "model call 1")]
    assert result.usage.model_calls == 1
    (call,) = model.calls
    assert [(message.role, message.content) for message in call.messages] == [
        ("system", "Be brief."),
        ("user", "Question:\nWhy?"),
    ]
    assert [tool.name for tool in call.tools] == ["shelf_find", "shelf_refuse", "shelf_meet"]


async def test_a_plain_text_is_a_question(desks: Desks) -> None:
    model = ScriptedModel("Because.")
    desk = await desks(model)
    await desk.ask("Why?")
    assert model.calls[0].messages[1].content == "Why?"


async def test_tools_of_one_turn_run_at_once_and_the_model_sees_all_results(desks: Desks) -> None:
    model = ScriptedModel(tool_calls(("shelf_meet", {"name": "a"}), ("shelf_meet", {"name": "b"})), "Met.")
    desk = await desks(model)
    GATE.clear()
    result = _result(await desk.ask("Meet."))
    assert [step.kind for step in result.steps] == ["model", "tool", "tool", "model"]
    assert sorted(RUNS) == ["a", "b"]
    said, *results = model.calls[1].messages[2:]
    assert [call.id for call in said.tool_calls] == [message.tool_call_id for message in results]
    assert [message.content for message in results] == ['"a"', '"b"']


async def test_sources_that_the_answer_cites_come_with_it(desks: Desks) -> None:
    desk = await desks(
        tool_calls(("shelf_find", {"query": "cats"}), ("shelf_find", {"query": "dogs"})),
        "All of dogs. [dogs.md:1-2]",
    )
    result = _result(await desk.ask("Dogs?"))
    assert [(source.source, source.text) for source in result.sources] == [("dogs.md:1-2", "All of dogs.")]


async def test_the_model_sees_a_tools_error_and_may_correct_it(desks: Desks) -> None:
    model = ScriptedModel(tool_call("shelf_refuse", why="haste"), tool_call("shelf_find", query="cats"), "Cats.")
    desk = await desks(model)
    result = _result(await desk.ask("Cats?"))
    assert json.loads(model.calls[1].messages[-1].content) == {"error": "not with haste"}
    assert result.text == "Cats."
    assert [step.error for step in result.steps if step.kind == "tool"] == ["not with haste", ""]


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        (
            "shelf_dance",
            "{}",
            "there is no tool 'shelf_dance'; the tools are: shelf_find, shelf_refuse, shelf_meet",
        ),
        ("shelf_find", "{'query'", "the arguments of 'shelf_find' are not JSON"),
        ("shelf_find", "[]", "the arguments of 'shelf_find' are not a JSON object"),
        ("shelf_find", "{}", '"query" is a required property'),
        ("shelf_find", '{"query": 17}', "query: 17 is not of type"),
        ("shelf_find", '{"query": "a", "more": 1}', "more"),
        ("shelf_find", "", '"query" is a required property'),
    ],
)
async def test_a_call_that_does_not_fit_is_told_to_the_model_and_not_made(
    desks: Desks, name: str, arguments: str, text: str
) -> None:
    model = ScriptedModel(tool_calls((name, arguments)), "Sorry.")
    desk = await desks(model)
    result = _result(await desk.ask("Cats?"))
    assert text in json.loads(model.calls[1].messages[-1].content)["error"]
    assert (result.text, RUNS) == ("Sorry.", [])


async def test_a_good_call_beside_a_bad_one_is_made(desks: Desks) -> None:
    model = ScriptedModel(tool_calls(("shelf_dance", {}), ("shelf_find", {"query": "cats"})), "Cats.")
    desk = await desks(model)
    await desk.ask("Cats?")
    bad, good = model.calls[1].messages[-2:]
    assert "there is no tool" in bad.content
    assert "All of cats." in good.content
    assert RUNS == ["cats"]


async def test_a_task_that_comes_twice_is_one_run_and_the_same_reply_again(desks: Desks) -> None:
    model = ScriptedModel(tool_call("shelf_find", query="cats"), "Cats.")
    desk = await desks(model)
    first = await desk.ask("Cats?", task_id="t1")
    await desk.ask("Cats?", task_id="t1")
    replies = desk.replies("t1")
    assert [reply.id for reply in replies] == ["t1.reply", "t1.reply"]
    assert replies[1].content == first.content
    assert (len(model.calls), RUNS) == (2, ["cats"])


async def test_a_restart_in_the_middle_makes_no_model_or_tool_call_anew(desks: Desks) -> None:
    going, go = asyncio.Event(), asyncio.Event()

    async def script(messages: Any, tools: Any) -> Completion | str:
        if messages[-1].role == "user":
            return tool_call("shelf_find", query="cats")
        going.set()
        await go.wait()
        return "Cats."

    model = ScriptedModel(script)
    desk = await desks(model)
    asking = asyncio.create_task(desk.ask("Cats?"))
    await asyncio.wait_for(going.wait(), 10)
    go.set()
    await desk.net.workflows("clerk").restart()
    assert _result(await asking).text == "Cats."
    # Not even the call under way: the round that is handed out again shares it.
    assert [call.messages[-1].role for call in model.calls] == ["user", "tool"]
    assert RUNS == ["cats"]


async def test_a_stopped_agent_takes_its_tasks_when_it_is_back(desks: Desks) -> None:
    desk = await desks("Because.")
    await desk.net.stop("clerk")
    task = Message(id="t1", type=MessageType.TASK, sender="tests", content="Why?", reply_to=REPLIES)
    await desk.net.bus.publish(topics.inbox("clerk"), task)
    await desk.net.bus.settled()
    assert desk.net.workflows("clerk").instances() == []
    await desk.net.start("clerk")
    await desk.net.bus.settled()
    await asyncio.wait_for(desk.net.workflows("clerk").finished("t1"), 10)
    assert _result(desk.replies("t1")[0]).text == "Because."


@pytest.mark.parametrize("content", ["", "  ", None, {}, {"question": ""}])
async def test_a_task_without_content_is_a_dead_letter(desks: Desks, content: Any) -> None:
    desk = await desks("Never.")
    task = Message(type=MessageType.TASK, sender="tests", content=content, reply_to=REPLIES)
    await desk.net.bus.publish(topics.inbox("clerk"), task)
    await desk.net.bus.settled()
    assert [event["id"] for event in desk.net.bus.events(topics.DEAD_LETTERS)] == [task.id]
    assert "has no content" in desk.net.bus.events(topics.FAILURES)[0]["data"]["reason"]


async def test_a_task_that_is_too_large_for_a_workflow_is_a_dead_letter_and_its_sender_is_told(
    desks: Desks,
) -> None:
    desk = await desks("Never.")
    task = Message(type=MessageType.TASK, sender="tests", content="x" * LARGEST, reply_to=REPLIES)
    await desk.net.bus.publish(topics.inbox("clerk"), task)
    await desk.net.bus.settled()
    failure = _failure(desk.replies(task.id)[0])
    assert failure.type == "TooLargeError"
    assert f"'clerk' takes {LARGEST:,}" in failure.message
    assert [event["id"] for event in desk.net.bus.events(topics.DEAD_LETTERS)] == [task.id]


async def test_a_model_that_refuses_is_an_error_reply_at_once(desks: Desks) -> None:
    model = ScriptedModel(ModelError("bad key", mend="check the key"))
    desk = await desks(model)
    failure = _failure(await desk.ask("Why?"))
    assert (failure.type, failure.message, failure.mend) == ("ModelError", "bad key", "check the key")
    assert len(model.calls) == 1


async def test_a_model_that_is_away_for_a_while_does_not_fail_the_task(desks: Desks) -> None:
    model = ScriptedModel(ModelUnavailableError("busy"), ModelUnavailableError("busy"), "Because.")
    desk = await desks(model)
    assert _result(await desk.ask("Why?")).usage.model_calls == 1
    assert len(model.calls) == 3


async def test_a_model_that_stays_away_is_an_error_reply(desks: Desks) -> None:
    def away(*_: Any) -> Exception:
        return ModelUnavailableError("busy")

    model = ScriptedModel(away)
    desk = await desks(model)
    failure = _failure(await desk.ask("Why?"))
    assert (failure.type, failure.message) == ("ModelUnavailableError", "busy")
    assert len(model.calls) > 3


async def test_a_model_that_never_answers_ends_at_the_limit_of_steps(desks: Desks) -> None:
    count = iter(range(100))

    def search(*_: Any) -> Completion:
        return tool_call("shelf_find", query=f"q{next(count)}")

    desk = await desks(ScriptedModel(search))
    failure = _failure(await desk.ask("Why?", agent="miser"))
    assert failure.type == "BudgetError"
    assert failure.message == "agent 'miser' used 3 of 3 steps without an answer"
    assert failure.mend == "raise its budget.steps"


async def test_a_model_that_repeats_itself_is_stopped(desks: Desks) -> None:
    def search(*_: Any) -> Completion:
        return tool_call("shelf_find", query="cats")

    desk = await desks(ScriptedModel(search))
    failure = _failure(await desk.ask("Why?", agent="miser"))
    assert failure.type == "BudgetError"
    assert "goes in circles: its model asked 2 times for shelf_find" in failure.message
    assert RUNS == ["cats"]


async def test_tokens_are_limited(desks: Desks) -> None:
    dear = tool_call("shelf_find", query="cats").model_copy(
        update={"usage": Usage(model_calls=1, prompt_tokens=80, completion_tokens=20)}
    )
    desk = await desks(dear, "Too late.")
    failure = _failure(await desk.ask("Why?", agent="miser"))
    assert failure.message == "agent 'miser' used 100 of 100 tokens without an answer"


async def test_time_is_limited(desks: Desks) -> None:
    desk: Desk

    async def slow(*_: Any) -> Completion:
        await desk.net.advance(61)
        return tool_call("shelf_find", query="cats")

    desk = await desks(ScriptedModel(slow))
    failure = _failure(await desk.ask("Why?", agent="miser"))
    assert "of 60 seconds without an answer" in failure.message


async def test_a_long_tool_result_is_cut_and_says_so(desks: Desks) -> None:
    model = ScriptedModel(tool_call("shelf_find", query="x" * 300), "Long.")
    desk = await desks(model)
    await desk.ask("Why?", agent="miser")
    shown = model.calls[1].messages[-1].content
    assert len(shown) <= 120
    assert shown.endswith("[left out to fit the model's context]")


async def test_an_agent_whose_tool_does_not_run_says_so() -> None:
    loner = Agent("loner", instructions="Be brief.", uses=["shelf"])
    async with Network([directory, loner, clerk]) as net:
        task = Message(id="t1", type=MessageType.TASK, sender="tests", content="Why?", reply_to=REPLIES)
        await net.bus.publish(topics.inbox("loner"), task)
        await net.bus.settled()
        await asyncio.wait_for(net.workflows("loner").finished("t1"), 10)
        failure = _failure(Message.from_cloudevent(net.bus.events(REPLIES)[0]))
    assert failure.type == "AgentUnavailableError"
    assert "no running tool is called 'shelf'" in failure.message


async def test_a_task_without_reply_address_is_done_without_a_reply(desks: Desks) -> None:
    desk = await desks("Because.")
    task = Message(id="t1", type=MessageType.TASK, sender="tests", content="Why?")
    await desk.net.bus.publish(topics.inbox("clerk"), task)
    await desk.net.bus.settled()
    status = await asyncio.wait_for(desk.net.workflows("clerk").finished("t1"), 10)
    assert status.status == "completed"
    assert desk.net.bus.events(REPLIES) == []


async def test_each_step_is_told_to_whoever_follows_the_task(desks: Desks) -> None:
    desk = await desks(tool_call("shelf_find", query="cats"), "Cats.")
    await desk.ask("Cats?", task_id="t1")
    await desk.net.stop("clerk")
    told = [(event["data"]["kind"], event["data"]["agent"]) for event in desk.net.bus.events(topics.TASK_EVENTS)]
    assert told == [("started", "clerk"), ("step", "clerk")] * 3
    ids = [event["id"] for event in desk.net.bus.events(topics.TASK_EVENTS)]
    assert len(set(ids)) == len(ids)


def test_an_agents_docstring_is_its_description() -> None:
    assert clerk.app.description == "The agent's loop, in memory with a scripted model."
