"""The demonstration model over HTTP: the protocol, and a whole conversation with tools."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.demo_model.app import create_app
from services.demo_model.notes import CLOSING
from services.demo_model.script import Script, ScriptError

QUESTION = "What is 12 percent of 80 and how are retries configured?"
STRING = {"type": "string"}


def offered(name: str, parameter: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {parameter: STRING}, "required": [parameter]}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


TOOLS = [offered("search", "query"), offered("evaluate", "expression")]
RESULTS = {
    "search": {"passages": [{"source": "docs/a.md:10-14", "text": "Retries are configured in *one* file."}]},
    "evaluate": {"expression": "12 / 100 * 80", "value": "9.6", "exact": True},
}
TRANSPORT = httpx.ASGITransport(create_app())


def send(method: str, path: str, **options: Any) -> httpx.Response:
    async def once() -> httpx.Response:
        async with httpx.AsyncClient(transport=TRANSPORT, base_url="http://model") as client:
            return await client.request(method, path, **options)

    return asyncio.run(once())


def complete(messages: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    response = send("POST", "/v1/chat/completions", json={"model": "any", "messages": messages, **options})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def asked(question: str = QUESTION, **options: Any) -> dict[str, Any]:
    message: dict[str, Any] = complete([{"role": "user", "content": question}], **options)["choices"][0]["message"]
    return message


def result(call: dict[str, Any], content: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call["id"], "content": json.dumps(content)}


def test_fitting_tools_are_called_in_one_turn_with_ids_of_their_own() -> None:
    calls = asked(tools=TOOLS, tool_choice="auto", temperature=0)["tool_calls"]
    assert [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls] == [
        ("search", {"query": "retries configured"}),
        ("evaluate", {"expression": "12 / 100 * 80"}),
    ]
    assert len({call["id"] for call in calls}) == 2
    assert calls == asked(tools=TOOLS, tool_choice="auto", temperature=0)["tool_calls"]


def test_the_answer_comes_from_the_results_and_says_who_gave_it() -> None:
    question = {"role": "user", "content": [{"type": "text", "text": QUESTION}]}
    turn = asked(tools=TOOLS)
    results = [result(call, RESULTS[call["function"]["name"]]) for call in turn["tool_calls"]]
    answer = complete([question, turn, *results], tools=TOOLS)
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["choices"][0]["message"]["content"] == (
        f"12 / 100 * 80 = 9.6. Retries are configured in one file. [docs/a.md:10-14]\n\n{CLOSING}"
    )
    assert answer["model"] == "demonstration"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


def test_an_answer_that_passes_several_agents_is_closed_once() -> None:
    notes = f"Retries are configured in one file. [docs/a.md:10-14]\n\n{CLOSING}"
    written = asked(f"Question:\n{QUESTION}\n\nNotes:\n{notes}")["content"]
    assert written == notes
    reviewer = {"role": "system", "content": "Reply APPROVE or REVISE: <what is wrong>."}
    draft = {"role": "user", "content": f"Question:\n{QUESTION}\n\nNotes:\n{notes}\n\nDraft:\n{written}"}
    verdict = complete([reviewer, draft])["choices"][0]["message"]["content"]
    assert verdict.startswith("APPROVE: ")
    assert verdict.count(CLOSING) == 1


def test_a_search_that_found_nothing_is_tried_once_more_and_then_never_again() -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Who is the king of Denmark?"}]
    queries = []
    for _ in range(5):
        turn = complete(messages, tools=TOOLS)["choices"][0]["message"]
        if not turn.get("tool_calls"):
            break
        (call,) = turn["tool_calls"]
        queries.append(json.loads(call["function"]["arguments"])["query"])
        messages += [turn, result(call, {"passages": []})]
    assert queries == ["king Denmark", "Denmark"]
    assert turn["content"].startswith("The documents do not answer this question.")


def test_where_calls_may_not_be_parallel_they_go_out_one_after_the_other() -> None:
    turn = asked(tools=TOOLS, parallel_tool_calls=False)
    assert [call["function"]["name"] for call in turn["tool_calls"]] == ["search"]
    messages = [{"role": "user", "content": QUESTION}, turn, result(turn["tool_calls"][0], RESULTS["search"])]
    second = complete(messages, tools=TOOLS, parallel_tool_calls=False)["choices"][0]["message"]
    assert [call["function"]["name"] for call in second["tool_calls"]] == ["evaluate"]


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("none", []),
        ({"type": "function", "function": {"name": "evaluate"}}, ["evaluate"]),
        ("required", ["search", "evaluate"]),
    ],
)
def test_a_tool_choice_is_kept(choice: Any, names: list[str]) -> None:
    turn = asked(tools=TOOLS, tool_choice=choice)
    assert [call["function"]["name"] for call in turn.get("tool_calls", [])] == names


def test_a_new_question_in_the_same_conversation_is_searched_anew() -> None:
    turn = asked(tools=TOOLS)
    earlier = [result(call, RESULTS[call["function"]["name"]]) for call in turn["tool_calls"]]
    messages = [
        {"role": "user", "content": QUESTION},
        turn,
        *earlier,
        {"role": "user", "content": "What is a topic?"},
    ]
    again = complete(messages, tools=TOOLS)["choices"][0]["message"]["tool_calls"]
    assert [json.loads(call["function"]["arguments"]) for call in again] == [{"query": "topic"}]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b'"text"', None),
        (b"{}", "messages"),
        (b'{"messages": []}', "messages"),
        (b'{"messages": [{"role": "wizard", "content": "x"}]}', "messages.0.role"),
        (b'{"messages": [{"role": "user", "content": 7}]}', "messages.0.content.str"),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', None),
        (b'{"messages": [{"role": "user", "content": "x"}], "stream": true}', "stream"),
        (b'{"messages": [{"role": "user", "content": "x"}], "tools": [{"function": {}}]}', "tools.0.function.name"),
        (json.dumps({"messages": [{"role": "user"}], "tools": [TOOLS[0], TOOLS[0]]}).encode(), "tools"),
    ],
)
def test_a_malformed_request_gets_a_400_that_names_the_place(body: bytes, param: str | None) -> None:
    response = send("POST", "/v1/chat/completions", content=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert error["message"]


def test_models_health_and_unknown_paths_answer_as_the_clients_expect() -> None:
    assert [model["id"] for model in send("GET", "/v1/models").json()["data"]] == ["demonstration"]
    assert send("GET", "/healthz").json()["status"] == "ok"
    missing = send("GET", "/calls")
    assert (missing.status_code, missing.json()["error"]["message"]) == (404, "Not Found")


async def test_at_its_start_the_model_says_what_it_is(caplog: pytest.LogCaptureFixture) -> None:
    app = create_app()
    with caplog.at_level(logging.INFO, logger="uvicorn.error"):
        async with app.router.lifespan_context(app):
            pass
    said = [record.message for record in caplog.records if "demonstration model" in record.message]
    assert len(said) == 1


def test_a_script_file_that_cannot_be_used_is_refused_by_name_and_place(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    with pytest.raises(ScriptError, match=r"script\.json' cannot be read: No such file"):
        Script.load(script)
    script.write_text('{"rules": [{"text": "x", "drop": true}]}')
    with pytest.raises(ScriptError, match=r"at 'rules\.0': .*at most one"):
        Script.load(script)
    script.write_text('{"rules": [{"when": {"question": {"regex": "("}}}]}')
    with pytest.raises(ScriptError, match="no regular expression"):
        Script.load(script)
    script.write_text('{"rules": [{"text": "x"}], "strict": true}')
    assert Script.load(script).strict


CONTENT = st.one_of(
    st.none(), st.text(max_size=60), st.lists(st.fixed_dictionaries({"text": st.text(max_size=20)}))
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": CONTENT},
    optional={
        "tool_call_id": st.sampled_from(["1", "2"]),
        "tool_calls": st.lists(
            st.fixed_dictionaries(
                {
                    "id": st.sampled_from(["1", "2"]),
                    "function": st.fixed_dictionaries(
                        {"name": st.just("search"), "arguments": st.text(max_size=10)}
                    ),
                }
            ),
            max_size=2,
        ),
    },
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(MESSAGE, min_size=1, max_size=6), st.booleans())
def test_every_well_formed_request_is_answered(messages: list[dict[str, Any]], with_tools: bool) -> None:
    answer = complete(messages, **({"tools": TOOLS} if with_tools else {}))["choices"][0]
    assert answer["message"]["content"] or answer["message"]["tool_calls"]


@pytest.mark.parametrize(
    "content", ['"\\ud800 retries"', '{"error": "\\ud800"}', "[" * 5000, '{"a":' * 5000, "1" * 9000]
)
def test_a_result_that_only_looks_like_json_does_no_harm(content: str) -> None:
    turn = asked("How are retries configured?", tools=TOOLS)
    results = [{"role": "tool", "tool_call_id": turn["tool_calls"][0]["id"], "content": content}]
    assert complete([{"role": "user", "content": "How are retries configured?"}, turn, *results], tools=TOOLS)


def run_main(check: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"import sys, services.demo_model.main as main\n{check}"]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=30, check=False
    )


def test_the_program_loads_neither_the_library_nor_dapr() -> None:
    run = run_main("assert main.app and not {'dapr', 'dovecote'} & sys.modules.keys()")
    assert run.returncode == 0, run.stderr


def test_the_program_takes_its_script_from_the_environment(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text('{"rules": [{"text": "x"}]}')
    run = run_main("assert main.script.rules[0].text == 'x'", DOVECOTE_MODEL_SCRIPT=str(script))
    assert run.returncode == 0, run.stderr
    script.write_text("{")
    run = run_main("", DOVECOTE_MODEL_SCRIPT=str(script))
    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    assert "script.json' is not valid" in line
