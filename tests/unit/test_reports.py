"""What an agent publishes of its work, by its flags."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from dovecote import Agent, Message, MessageType, Tools, topics
from dovecote.directory import Directory
from dovecote.errors import AgentUnavailableError, ConfigurationError
from dovecote.ports import Completion
from dovecote.reports import PRESETS, Flags
from dovecote.settings import Settings
from dovecote.testing import Network, ScriptedModel, tool_call
from services.directory.main import app as directory
from tests.support.eventually import eventually

pytestmark = pytest.mark.promise("ARG-13")
REPLIES = "tests/replies"
shelf = Tools("shelf")


@shelf.tool
def find(query: str) -> str:
    """Find something."""
    return f"all of {query}"


def _think(messages: Any, tools: Any) -> Completion:
    if messages[-1].role == "tool":
        return Completion(text="Here it is.")
    assert tools
    return tool_call("shelf_find", query="doves")


@asynccontextmanager
async def _network(agent: Agent, **settings: Any) -> AsyncIterator[Network]:
    async with Network(
        [directory, shelf, agent], model=ScriptedModel(_think), settings=Settings(**settings)
    ) as net:
        yield net


def _agent(**flags: Any) -> Agent:
    return Agent("clerk", instructions="Be brief.", uses=["shelf"], **flags)


async def _work(net: Network, **fields: Any) -> None:
    """Give the agent a task, and wait for its end."""
    task = Message(id="t-1", type=MessageType.TASK, sender="tests", content="Doves?", **fields)
    await net.bus.publish(topics.inbox("clerk"), task)
    await net.bus.settled()
    await net.workflows("clerk").finished("t-1")


async def _told(**flags: Any) -> tuple[bool, bool, bool]:
    """Whether a task's answer, its steps, and a tool's result were published."""
    agent = _agent(**flags)
    async with _network(agent) as net:
        await _work(net)
        task = Message(id="t-2", type=MessageType.TASK, sender="tests", content="Doves?", reply_to=REPLIES)
        await net.bus.publish(topics.inbox("clerk"), task)
        answers = partial(net.bus.events, REPLIES)
        await eventually(lambda: answers() or net.bus.events(topics.DEAD_LETTERS), "the answer, or the refusal")
    results = net.bus.events(topics.tool_response("shelf", "t-1"))
    assert [event["data"]["result"] for event in results if event["data"]["task_id"] == "t-1"] in (
        [],
        ["all of doves"],
    )
    return bool(answers()), bool(net.bus.events("agent/clerk/status")), bool(results)


@pytest.mark.parametrize(
    ("preset", "told"),
    [
        (None, (True, True, False)),
        ("production", (True, False, False)),
        ("development", (True, True, True)),
        ("single-agent", (False, True, False)),
    ],
)
async def test_each_preset_publishes_what_the_document_says(preset: Any, told: tuple[bool, bool, bool]) -> None:
    assert await _told(preset=preset) == told


@pytest.mark.parametrize("name", Flags.model_fields)
@pytest.mark.parametrize("wanted", [True, False])
async def test_each_flag_decides_one_thing(name: str, wanted: bool) -> None:
    told = await _told(**{name: wanted})
    assert told[[*Flags.model_fields].index(name)] == wanted


async def test_the_steps_of_a_task_are_told_from_its_begin_to_its_end() -> None:
    async with _network(_agent()) as net:
        await _work(net)
    told = [event["data"] for event in net.bus.events("agent/clerk/status")]
    assert [event["kind"] for event in told] == [
        "started",
        "step",
        "started",
        "step",
        "started",
        "step",
        "completed",
    ]
    assert {event["task_id"] for event in told} == {"t-1"}
    assert told[-1]["data"]["text"] == "Here it is."


async def test_an_agent_without_a_supervisor_refuses_who_wants_an_answer_and_is_not_found_by_plans() -> None:
    async with _network(_agent(publish_to_supervisor=False)) as net:
        with pytest.raises(AgentUnavailableError):
            await Directory(net.invoke).find(["clerk"], "agent")
        task = Message(id="t-1", type=MessageType.TASK, sender="lead", content="Doves?", reply_to=REPLIES)
        await net.bus.publish(topics.inbox("clerk"), task)
        await eventually(lambda: net.bus.events(topics.DEAD_LETTERS), "the dead letter")
        (told,) = net.bus.events(topics.FAILURES)
    assert told["data"]["error"] == "Reject"
    assert "answers nobody" in told["data"]["reason"]


@pytest.mark.parametrize(
    ("author", "environment", "flags"),
    [
        ({}, {"agent_preset": "production"}, PRESETS["production"]),
        ({}, {"agent_preset": "production", "publish_to_agent_topic": True}, Flags()),
        ({"publish_to_agent_topic": False}, {"publish_to_agent_topic": True}, PRESETS["production"]),
        ({"preset": "single-agent"}, {"agent_preset": "development"}, PRESETS["single-agent"]),
        ({"preset": "development", "publish_to_agent_topic": False}, {}, None),
    ],
)
async def test_what_the_author_gives_holds_and_the_rest_is_read_from_the_environment(
    author: Any, environment: Any, flags: Flags | None
) -> None:
    agent = _agent(**author)
    async with _network(agent, **environment):
        expected = flags or Flags(publish_to_agent_topic=False, enable_tool_result_publishing=True)
        assert agent._reports.flags == expected


def test_an_unknown_preset_stops_the_start() -> None:
    wrong: Any = "staging"
    with pytest.raises(ConfigurationError, match="'staging'") as caught:
        _agent(preset=wrong)
    assert caught.value.mend == "choose one of: production, development, single-agent"


def test_the_environment_names_the_flags_and_an_empty_one_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOVECOTE_AGENT_PRESET", "development")
    monkeypatch.setenv("DOVECOTE_PUBLISH_TO_SUPERVISOR", "false")
    monkeypatch.setenv("DOVECOTE_PUBLISH_TO_AGENT_TOPIC", "")
    settings = Settings()
    assert (settings.agent_preset, settings.publish_to_supervisor) == ("development", False)
    assert settings.publish_to_agent_topic is None
