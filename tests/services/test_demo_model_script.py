"""The scripted model on a real port: rules, faults, templates and counts."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from services.demo_model.script import Rule, Script, When
from tests.support.model_server import ModelServer


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


def post(server: ModelServer, question: str = "Hello there", **options: Any) -> httpx.Response:
    messages = [{"role": "system", "content": "You help.\nAlways."}, {"role": "user", "content": question}]
    messages += options.pop("more", [])
    headers = options.pop("headers", {})
    return httpx.post(
        f"{server.url}/chat/completions",
        json={"messages": messages, **options},
        headers=headers,
        timeout=10,
        trust_env=False,
        verify=False,
    )


def said(response: httpx.Response) -> str:
    text: str = response.json()["choices"][0]["message"]["content"]
    return text


def search_tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}


def test_the_first_rule_that_fits_answers_as_often_as_it_may(server: ModelServer) -> None:
    server.set_script(
        {
            "rules": [
                {"when": {"question": "HELLO"}, "times": 2, "text": "first"},
                {"when": {"question": {"regex": r"hel+o"}}, "text": "second"},
            ],
        }
    )
    assert [said(post(server)) for _ in range(3)] == ["first", "first", "second"]


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        ({"system": "always"}, True),
        ({"system": "never"}, False),
        ({"conversation": {"regex": "help.*there"}}, True),
        ({"tool_results": 0}, True),
        ({"tool_results": 1}, False),
        ({"tools": ["search"]}, True),
        ({"tools": ["search", "other"]}, False),
        ({"tools": []}, False),
        ({"question": "there", "system": "never"}, False),
    ],
)
def test_a_rule_applies_only_if_all_of_its_conditions_hold(
    server: ModelServer, when: dict[str, Any], fits: bool
) -> None:
    server.set_script({"rules": [{"when": when, "text": "scripted"}]})
    assert (said(post(server, tools=[search_tool("search")])) == "scripted") is fits


def test_tool_results_move_a_script_on_and_can_be_told_again(server: ModelServer) -> None:
    server.set_script(
        {
            "rules": [
                {
                    "when": {"tool_results": 0},
                    "tool_calls": [{"name": "search", "arguments": {"query": "{question}"}}],
                },
                {"when": {"tool_results": 1}, "text": "It said {tool_result}, {unknown}."},
            ]
        }
    )
    turn = post(server).json()["choices"][0]
    assert turn["finish_reason"] == "tool_calls"
    (call,) = turn["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"query": "Hello there"}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "blue"}
    assert said(post(server, more=[turn["message"], result])) == "It said blue, {unknown}."


def test_the_question_of_a_template_is_without_its_heading(server: ModelServer) -> None:
    server.set_script({"rules": [{"text": "You asked: {question}"}]})
    assert said(post(server, "Question:\nWhat is a topic?")) == "You asked: What is a topic?"


def test_arguments_may_be_anything_that_a_model_gets_wrong(server: ModelServer) -> None:
    server.set_script({"rules": [{"tool_calls": [{"name": "nobody", "arguments": '{"query": '}]}]})
    (call,) = post(server).json()["choices"][0]["message"]["tool_calls"]
    assert (call["function"]["name"], call["function"]["arguments"]) == ("nobody", '{"query": ')


async def test_concurrent_questions_get_each_their_own_answer(server: ModelServer) -> None:
    pattern = {"regex": r"number (?P<number>\d+)"}
    server.set_script(
        {"rules": [{"when": {"question": pattern}, "delay": 0.6, "text": "Answer {number} to {question}"}]}
    )
    bodies = [{"messages": [{"role": "user", "content": f"Question number {n}"}]} for n in range(20)]
    began = time.monotonic()
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        replies = await asyncio.gather(
            *(client.post(f"{server.url}/chat/completions", json=body) for body in bodies)
        )
    assert [said(reply) for reply in replies] == [f"Answer {n} to Question number {n}" for n in range(20)]
    assert 0.6 <= time.monotonic() - began < 20 * 0.6, "the delays must not add up"
    assert server.totals()["calls"] == 20


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_an_error_is_sent_with_its_status_and_when_to_try_again(server: ModelServer, status: int) -> None:
    server.set_script({"rules": [{"error": {"status": status, "message": "No.", "retry_after": 2}, "times": 1}]})
    response = post(server)
    assert (response.status_code, response.headers["retry-after"]) == (status, "2")
    assert response.json()["error"]["message"] == "No."
    assert post(server).status_code == 200


def test_the_body_of_an_error_can_be_anything(server: ModelServer) -> None:
    server.set_script({"rules": [{"error": {"status": 502, "body": "<html>Bad gateway</html>"}}]})
    assert post(server).text == "<html>Bad gateway</html>"
    server.set_script({"rules": [{"error": {"status": 400, "body": {"why": "so"}}}]})
    assert post(server).json() == {"why": "so"}


def test_a_dropped_connection_breaks_off_and_the_next_call_is_served(server: ModelServer) -> None:
    server.set_script({"rules": [{"drop": True, "times": 1}, {"text": "back"}]})
    with pytest.raises(httpx.RemoteProtocolError):
        post(server)
    assert said(post(server)) == "back"
    assert [call["answer"] for call in server.calls()] == ["drop", "text"]


def test_a_key_is_asked_for_where_the_script_has_one(server: ModelServer) -> None:
    server.set_script({"api_key": "secret"})
    assert post(server).status_code == 401
    assert post(server, headers={"Authorization": "Bearer secret"}).status_code == 200


def test_what_no_rule_fits_the_demonstration_model_answers_unless_the_script_is_strict(server: ModelServer) -> None:
    server.set_script({"rules": [{"when": {"question": "nothing"}, "text": "x"}]})
    assert "demonstration model" in said(post(server))
    server.set_script({"rules": [{"when": {"question": "nothing"}, "text": "x"}], "strict": True})
    response = post(server)
    assert response.status_code == 500
    assert "last user message 'Hello there'" in response.json()["error"]["message"]


def test_a_rule_without_an_answer_lets_the_demonstration_model_speak_later(server: ModelServer) -> None:
    server.set_script(Script(rules=[Rule(name="slow", when=When(), delay=0.2)]))
    began = time.monotonic()
    assert "demonstration model" in said(post(server))
    assert time.monotonic() - began >= 0.2
    assert server.totals()["rules"] == {"slow": 1}


def test_every_call_is_on_record_until_it_is_reset(server: ModelServer) -> None:
    server.set_script({"rules": [{"name": "call", "times": 1, "tool_calls": [{"name": "search"}]}]})
    post(server, tools=[search_tool("search")])
    post(server, "Second")
    first, second = server.calls()
    assert first.pop("time") < second["time"]
    assert first == {
        "id": 1,
        "system": "You help.",
        "question": "Hello there",
        "tools": ["search"],
        "messages": 2,
        "answer": "tool_calls",
        "rule": "call",
    }
    assert (second["id"], second["answer"], second["rule"]) == (2, "text", None)
    assert server.totals() == {"calls": 2, "answers": {"tool_calls": 1, "text": 1}, "rules": {"call": 1}}
    server.reset()
    assert server.calls() == []
    assert post(server).json()["choices"][0]["finish_reason"] == "tool_calls", "the rule may be used again"


def test_a_script_that_is_not_valid_is_refused_and_the_old_one_stays(server: ModelServer) -> None:
    server.set_script({"rules": [{"text": "old"}]})
    response = httpx.post(f"http://127.0.0.1:{server.port}/script", json={"rules": [{"txt": "x"}]}, trust_env=False)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "rules.0.txt")
    assert said(post(server)) == "old"


def test_a_stopped_server_leaves_its_port_free() -> None:
    with ModelServer() as first:
        port = first.port
        assert 1024 < port < 32768
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)
