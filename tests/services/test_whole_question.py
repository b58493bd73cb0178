"""Questions through all services in one process: real apps, in-memory ports, a scripted model."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from dovecote import topics
from dovecote.ports import ChatMessage, Completion, ToolSpec
from dovecote.settings import get_settings
from dovecote.testing import Network, ScriptedModel, tool_calls
from services.agents.researcher.main import agent as researcher
from services.agents.reviewer.main import agent as reviewer
from services.agents.writer.main import agent as writer
from services.directory.main import app as directory
from services.gateway.main import app as gateway
from services.orchestrator.main import orchestrator
from services.recorder.main import app as recorder
from services.tools.calculator.main import tools as calculator
from services.tools.knowledge.main import tools as knowledge

pytestmark = pytest.mark.asyncio(loop_scope="session")
LAMPS = 20


@pytest.fixture
def documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("DOVECOTE_DATA", str(tmp_path / "data"))
    get_settings.cache_clear()
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(LAMPS):
        (folder / f"lamp{number}.md").write_text(f"# Lamps\n\nThe lamp number{number} burns {number + 7} litres.\n")
    (folder / "broken.pdf").write_bytes(b"not a pdf")
    yield folder
    get_settings.cache_clear()


def _by_role(messages: Sequence[ChatMessage], tools: Sequence[ToolSpec]) -> str | Completion:
    """Each agent's part: look up and calculate, write from the notes, approve."""
    asked = messages[1].content
    if "You check the draft" in messages[0].content:
        return "APPROVE"
    if "You write the answer" in messages[0].content:
        return asked.split("Notes:\n")[1].strip()
    lamp = re.findall(r"number\d+", asked)[0]
    if messages[-1].role == "user":
        names = {tool.name for tool in tools}
        assert {"knowledge_search", "calculator_evaluate"} <= names
        number = lamp.removeprefix("number")
        return tool_calls(
            ("knowledge_search", {"query": lamp}), ("calculator_evaluate", {"expression": f"{number} * 2"})
        )
    found, computed = (json.loads(message.content) for message in messages[-2:])
    best = next(row for row in found["passages"] if lamp in row["text"])
    return f"{best['text']} [{best['source']}] Twice: {computed['value']}."


@pytest_asyncio.fixture(loop_scope="session")
async def net() -> AsyncIterator[Network]:
    apps: list[Any] = [
        directory,
        recorder,
        gateway,
        orchestrator,
        researcher,
        writer,
        reviewer,
        knowledge,
        calculator,
    ]
    async with Network(apps, model=ScriptedModel(_by_role)) as network:
        yield network


async def test_twenty_different_questions_at_once_each_get_their_own_answer(net: Network, documents: Path) -> None:
    questions = [f"How much does lamp number{number} burn?" for number in range(LAMPS)]
    results = await asyncio.gather(
        *(net.ask({"question": question}, metadata={"docs": str(documents)}) for question in questions)
    )
    for number, result in enumerate(results):
        assert result.status == "completed", result.error
        assert isinstance(result.answer, dict)
        text = str(result.answer["text"])
        assert f"The lamp number{number} burns {number + 7} litres." in text
        assert f"Twice: {number * 2}." in text
        citations: Any = result.answer["citations"]
        assert [row["file"] for row in citations] == [f"lamp{number}.md"]
        assert result.answer["review"] == "APPROVE"
        assert result.usage.model_calls == 4
    assert len({result.task_id for result in results}) == LAMPS


async def test_documents_that_cannot_be_read_are_named_in_the_answer(net: Network, documents: Path) -> None:
    result = await net.ask({"question": "How much does lamp number1 burn?"}, metadata={"docs": str(documents)})
    assert isinstance(result.answer, dict)
    (unreadable,) = result.answer["unreadable"] if isinstance(result.answer["unreadable"], list) else []
    assert str(unreadable).startswith("broken.pdf: ")


async def test_a_folder_that_is_not_there_fails_the_task_by_name(net: Network, documents: Path) -> None:
    away = documents / "away"
    result = await net.ask({"question": "How much does lamp number1 burn?"}, metadata={"docs": str(away)})
    assert result.status == "failed"
    assert result.error is not None
    assert str(away) in result.error.message


async def _asked(net: Network, documents: Path) -> str:
    body = {"question": "How much does lamp number3 burn?", "docs": str(documents)}
    async with net.http("gateway") as http:
        answer = await http.post("/tasks", json=body)
    assert answer.status_code == 202
    task_id = str(answer.json()["task_id"])
    await net.result(task_id)
    await net.bus.settled()
    return task_id


def _stream(text: str) -> list[dict[str, str]]:
    events = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != ":")
        if "data" in fields:
            events.append(fields)
    return events


async def test_the_stream_of_a_task_has_its_steps_in_order_and_ends_with_the_result(
    net: Network, documents: Path
) -> None:
    task_id = await _asked(net, documents)
    async with net.http("gateway") as http:
        answer = await http.get(f"/tasks/{task_id}/events")
        result = (await http.get(f"/tasks/{task_id}")).json()
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = _stream(answer.text)
    assert [event["id"] for event in events[:-1]] == [str(number) for number in range(1, len(events))]
    assert [event["event"] for event in events[-2:]] == ["completed", "result"]
    assert json.loads(events[-1]["data"]) == result
    kinds = [(json.loads(event["data"])["agent"], event["event"]) for event in events[:-1]]
    assert kinds[0] == ("orchestrator", "started")
    for agent, calls in (("researcher", 4), ("writer", 1), ("reviewer", 1)):
        assert kinds.count((agent, "step")) == calls
    first = {agent: kinds.index((agent, "step")) for agent in ("researcher", "writer", "reviewer")}
    assert first["researcher"] < first["writer"] < first["reviewer"]


async def test_a_stream_goes_on_after_the_last_event_that_was_seen(net: Network, documents: Path) -> None:
    task_id = await _asked(net, documents)
    async with net.http("gateway") as http:
        whole = _stream((await http.get(f"/tasks/{task_id}/events")).text)
        rest = _stream((await http.get(f"/tasks/{task_id}/events", headers={"last-event-id": "5"})).text)
    assert rest == whole[5:]


async def test_without_the_recorder_the_stream_still_ends_with_the_result(net: Network, documents: Path) -> None:
    task_id = await _asked(net, documents)
    await net.stop("recorder")
    async with net.http("gateway") as http:
        events = _stream((await http.get(f"/tasks/{task_id}/events")).text)
    assert [event["event"] for event in events] == ["result"]


async def test_a_question_from_a_stock_client_is_answered(net: Network, documents: Path) -> None:
    event = {
        "specversion": "1.0",
        "id": "q1",
        "source": "shop",
        "type": "com.example",
        "data": {"question": "How much does lamp number4 burn?"},
        "metadata": json.dumps({"docs": str(documents)}),
    }
    await net.bus.publish_event(topics.QUERY_ASK, event)
    await net.bus.settled()
    await net.result("q1")
    (reply,) = net.bus.events(topics.QUERY_RESPONSE)
    assert reply["correlationid"] == "q1"
    assert "number4 burns 11 litres" in reply["data"]["answer"]["text"]


async def test_a_reviewer_that_objects_has_the_answer_written_again() -> None:
    verdicts = iter(["REVISE: too long", "APPROVE"])

    def by_role(messages: Sequence[ChatMessage], tools: Sequence[ToolSpec]) -> str | Completion:
        if "You check the draft" in messages[0].content:
            return next(verdicts)
        if "You write the answer" in messages[0].content:
            return "short" if "too long" in messages[1].content else "a long text"
        return "notes"

    apps: list[Any] = [directory, orchestrator, researcher, writer, reviewer, knowledge, calculator]
    async with Network(apps, model=ScriptedModel(by_role)) as net:
        result = await net.ask({"question": "Why?"}, metadata={"docs": str(Path(__file__).parent)})
    assert isinstance(result.answer, dict)
    assert (result.answer["text"], result.answer["review"]) == ("short", "APPROVE")
    assert [step.agent for step in result.steps if step.kind == "model"] == [
        "researcher",
        "writer",
        "reviewer",
        "writer",
        "reviewer",
    ]
