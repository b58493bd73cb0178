"""What is wrong gets a clear error that names the cause, and the system goes on serving."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.waiting import wait_until
from tests.support.whole import Whole

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def still_serving(system: Whole, documents: Path) -> Iterator[None]:
    """After each test the next question is answered."""
    yield
    system.model.set_script({})
    assert system.ask("What does the southern lamp run on?", documents)["status"] == "completed"


def _researching(*rules: dict[str, Any]) -> dict[str, Any]:
    """A script in which the answer is what the researcher's tools told it; the rules come before."""
    notes = {"regex": "Notes:\n(?P<notes>.*)"}
    return {
        "rules": [
            *rules,
            {"when": {"system": "clerk"}, "text": "The tools said: {tool_results}"},
            {"when": {"system": "write the answer", "conversation": notes}, "text": "{notes}"},
            {"when": {"system": "check the draft"}, "text": "APPROVE"},
        ]
    }


def _calling(name: str, arguments: dict[str, Any] | str) -> dict[str, Any]:
    call = {"name": name, "arguments": arguments}
    return {"when": {"system": "clerk", "tool_results": 0}, "tool_calls": [call]}


def _told(system: Whole, docs: Path) -> str:
    """What the researcher's model read of its tools."""
    result = system.ask("What is it?", docs)
    assert result["status"] == "completed", result["error"]
    return str(result["answer"]["text"])


@pytest.mark.parametrize(
    ("body", "status", "cause"),
    [
        ({"question": ""}, 422, "question"),
        ({"question": "  \n "}, 422, "question"),
        ({}, 422, "question"),
        ({"question": 7}, 422, "question"),
        ({"question": "x" * 8001}, 413, "8001 characters; 8000 are taken"),
    ],
)
def test_a_question_that_does_not_fit_is_refused(
    system: Whole, body: dict[str, Any], status: int, cause: str
) -> None:
    answer = httpx.post(f"{system.system.url()}/tasks", json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert cause in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/tasks/no-such-task", "/tasks/no-such-task/events"])
def test_an_unknown_task_is_named(system: Whole, path: str) -> None:
    answer = httpx.get(system.system.url() + path)
    assert answer.status_code == 404
    assert answer.json()["title"] == "NotFoundError"
    assert "no-such-task" in answer.json()["detail"]


def test_a_folder_that_does_not_exist_is_named(system: Whole, tmp_path: Path) -> None:
    result = system.ask("What is it?", tmp_path / "nowhere")
    assert result["status"] == "failed"
    assert "nowhere" in result["error"]["message"]


def test_a_model_that_refuses_the_key_fails_the_task_at_once(system: Whole, documents: Path) -> None:
    system.model.set_script({"api_key": "another"})
    result = system.ask("What is it?", documents)
    assert result["status"] == "failed"
    assert "401" in result["error"]["message"]
    assert "ModelError" in result["error"]["message"]
    assert system.model.totals()["calls"] == 1


def test_a_model_that_does_not_answer_is_tried_again_and_then_named(system: Whole, documents: Path) -> None:
    system.model.set_script({"rules": [{"drop": True}]})
    result = system.ask("What is it?", documents)
    assert result["status"] == "failed"
    assert "ModelUnavailableError" in result["error"]["message"]
    assert "'llm'" in result["error"]["message"]
    assert system.model.totals()["calls"] > 1


def test_a_model_that_limits_the_rate_is_asked_again(system: Whole, documents: Path) -> None:
    system.model.set_script({"rules": [{"times": 1, "error": {"status": 429, "retry_after": 0}}]})
    assert system.ask("What does the southern lamp run on?", documents)["status"] == "completed"


def test_a_tool_that_does_not_exist_is_told_to_the_model(system: Whole, documents: Path) -> None:
    system.model.set_script(_researching(_calling("teleport", {})))
    assert "there is no tool 'teleport'" in _told(system, documents)


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        ("{not json", "not JSON"),
        ({"expresion": "1"}, "do not fit"),
        ({"expression": 5}, "do not fit"),
        ("[1]", "not a JSON object"),
    ],
)
def test_arguments_that_do_not_fit_are_told_to_the_model(
    system: Whole, documents: Path, arguments: dict[str, Any] | str, cause: str
) -> None:
    system.model.set_script(_researching(_calling("calculator_evaluate", arguments)))
    assert cause in _told(system, documents)


def test_a_bad_expression_is_corrected_by_the_model(system: Whole, documents: Path) -> None:
    wrong = _calling("calculator_evaluate", {"expression": "2 *"})
    right = {
        "when": {"system": "clerk", "tool_results": 1},
        "tool_calls": [{"name": "calculator_evaluate", "arguments": {"expression": "2 * 21"}}],
    }
    system.model.set_script(_researching(wrong, right))
    told = _told(system, documents)
    assert "error" in told
    assert "42" in told


@pytest.mark.parametrize(("function", "cause"), [("explode", "ZeroDivisionError"), ("mystery", "not JSON")])
def test_a_tool_that_fails_is_told_to_the_model(system: Whole, documents: Path, function: str, cause: str) -> None:
    system.model.set_script(_researching(_calling(f"ledger_{function}", {})))
    assert cause in _told(system, documents)


def test_a_model_that_goes_in_circles_is_stopped(system: Whole, documents: Path) -> None:
    call = {"name": "calculator_evaluate", "arguments": {"expression": "1 + 1"}}
    system.model.set_script({"rules": [{"when": {"system": "clerk"}, "tool_calls": [call]}]})
    result = system.ask("What is it?", documents)
    assert result["status"] == "failed"
    assert "goes in circles" in result["error"]["message"]


def test_an_agent_that_does_not_run_is_named(system: Whole, documents: Path) -> None:
    system.system.halt("reviewer")
    try:
        result = system.ask("What is it?", documents)
    finally:
        system.system.resume("reviewer")
        system.system.wait_ready()
    assert result["status"] == "failed"
    assert "'review'" in result["error"]["message"]
    assert "writer" in result["error"]["mend"]


def test_rubbish_on_a_topic_is_a_dead_letter_with_its_reason(system: Whole) -> None:
    sidecar = system.system.sidecar_url("gateway")
    event = '{"specversion":"1.0","id":"rubbish-1","source":"x","type":"task","priority":99,"data":"?"}'
    sent = httpx.post(
        f"{sidecar}/v1.0/publish/pubsub/agents.writer.inbox",
        content=event,
        headers={"content-type": "application/cloudevents+json"},
    )
    assert sent.status_code == 204
    url = f"{system.system.url('recorder')}/deadletters/rubbish-1"
    wait_until(lambda: httpx.get(url).status_code == 200 and httpx.get(url).json()["reasons"], "the dead letter")
    assert "priority" in httpx.get(url).json()["reasons"][0]["reason"]


def test_what_an_app_is_handed_cannot_be_read_by_another_through_its_sidecar(system: Whole) -> None:
    answer = httpx.get(f"{system.system.sidecar_url('writer')}/v1.0/invoke/gateway/method/tap", timeout=20)
    assert answer.status_code == 404
    assert "the tap is not for other apps" in answer.json()["detail"]
