"""A question goes through every service, over real sidecars, to an answer with its citations."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.whole import Whole

pytestmark = pytest.mark.timeout(120)


def test_an_answer_carries_citations_steps_and_cost(system: Whole, documents: Path) -> None:
    result = system.ask("How much oil does the northern lamp burn a night, and what is 14 * 30?", documents)
    assert result["status"] == "completed", result["error"]
    answer = result["answer"]
    assert "14 litres" in answer["text"]
    assert "420" in answer["text"]
    assert "demonstration model" in answer["text"]
    [citation] = answer["citations"]
    assert (citation["file"], citation["first_line"]) == ("lamps.md", 3)
    who = [(step["agent"], step["kind"], step["name"]) for step in result["steps"]]
    assert ("orchestrator", "tool", "knowledge_index") in who
    assert ("researcher", "tool", "knowledge_search") in who
    assert ("researcher", "tool", "calculator_evaluate") in who
    assert [agent for agent, kind, _ in who if kind == "model"] == [
        "researcher",
        "researcher",
        "writer",
        "reviewer",
    ]
    assert all(step["seconds"] >= 0 and step["error"] == "" for step in result["steps"])
    assert result["usage"]["model_calls"] == 4 == system.model.totals()["calls"]
    assert result["usage"]["prompt_tokens"] > 0


def test_the_stream_tells_the_steps_and_ends_with_the_result(system: Whole, documents: Path) -> None:
    task = system.start("What does the southern lamp run on?", documents)
    events = _stream(system, task)
    kinds = [kind for kind, _ in events]
    assert kinds[0] == "started"
    assert kinds[-2:] == ["completed", "result"]
    told = {(data["agent"], data["data"].get("name")) for kind, data in events if kind == "step"}
    assert ("researcher", "knowledge_search") in told
    assert ("writer", "model call 1") in told
    assert events[-1][1] == system.result(task)


def test_a_stream_that_is_taken_up_again_goes_on_where_it_was(system: Whole, documents: Path) -> None:
    task = system.start("What does the southern lamp run on?", documents)
    whole = _stream(system, task)
    rest = _stream(system, task, last_event_id=3)
    assert [data["id"] for _, data in whole[3:-1]] == [data["id"] for _, data in rest[:-1]]


def test_twenty_questions_at_once_each_get_their_own_answer(system: Whole, tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"ship{number}.md").write_text(
            f"# Ship {number}\n\nThe vessel Alba{number} carries {number + 100} crates.\n"
        )
    questions = [f"How many crates does the vessel Alba{number} carry?" for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda question: system.ask(question, tmp_path, 90), questions))
    for number, result in enumerate(results):
        assert result["status"] == "completed", result["error"]
        assert f"{number + 100} crates" in result["answer"]["text"]
        assert f"ship{number}.md" in [citation["file"] for citation in result["answer"]["citations"]]


def test_the_documents_of_the_project_answer_when_no_folder_is_named(system: Whole) -> None:
    result = system.ask("What is a dead letter?")
    assert result["status"] == "completed", result["error"]
    assert result["answer"]["citations"]


def test_a_stock_client_asks_over_the_bus(system: Whole) -> None:
    sidecar = system.system.sidecar_url("gateway")
    event = {
        "specversion": "1.0",
        "id": "from-a-stock-client",
        "source": "stock",
        "type": "question",
        "datacontenttype": "application/json",
        "data": {"question": "What is a dead letter?"},
    }
    sent = httpx.post(
        f"{sidecar}/v1.0/publish/pubsub/agent.query.ask",
        content=json.dumps(event),
        headers={"content-type": "application/cloudevents+json"},
    )
    assert sent.status_code == 204
    assert system.result("from-a-stock-client")["status"] == "completed"


def _stream(system: Whole, task: str, last_event_id: int = 0) -> list[tuple[str, dict[str, Any]]]:
    events: list[tuple[str, dict[str, Any]]] = []
    url = f"{system.system.url()}/tasks/{task}/events"
    kind = ""
    with httpx.stream("GET", url, headers={"last-event-id": str(last_event_id)}, timeout=60) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                events.append((kind, json.loads(value)))
    return events
