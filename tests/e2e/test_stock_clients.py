"""Clients that know nothing of Dovecote take part on each broker: they ask, and they are tools."""

import base64
import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from google.protobuf.struct_pb2 import Struct

from dovecote import Message, topics
from tests.support.brokers import broker_setup
from tests.support.scale import scale
from tests.support.stock_clients import Mosquitto, StockClient, stock_client
from tests.support.tail import tail
from tests.support.waiting import wait_until
from tests.support.whole import Whole, whole

pytestmark = pytest.mark.timeout(1500)

BROKERS = ["redis", "mqtt", "rabbitmq", "kafka", "servicebus", "zeromq"]
STEPS = {f"agent/{name}/status" for name in ("researcher", "writer", "reviewer")}


def script(answer: str) -> dict[str, Any]:
    """What the model says: it weighs an anvil, and writes that answer."""
    weighing = [{"name": "gateway_scale", "arguments": {"what": "anvil"}}]
    return {
        "rules": [
            {"name": "weigh", "when": {"system": "weigher", "tool_results": 0}, "tool_calls": weighing},
            {"name": "find", "when": {"system": "weigher"}, "text": "It is heavy."},
            {"name": "write", "when": {"system": "write the answer"}, "text": answer},
            {"name": "review", "when": {"system": "check the draft"}, "text": "APPROVE"},
        ]
    }


@pytest.fixture(scope="module", params=BROKERS)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Whole, StockClient]]:
    home = tmp_path_factory.mktemp(request.param)
    docs = tmp_path_factory.mktemp("docs")
    (docs / "anvil.md").write_text("# Anvil\n\nAn anvil is made of iron.\n")
    with broker_setup(request.param, home / "broker") as setup:
        env = {"DOVECOTE_DOCS": str(docs), "DOVECOTE_RESEND_AFTER": "2", **setup.env}
        with whole(home, env, request.param, brokers=setup.brokers, researcher="tests.support.weigher") as system:
            yield system, stock_client(request.param, system.system.env)


@pytest.fixture
def system(running: tuple[Whole, StockClient]) -> Whole:
    return running[0]


@pytest.fixture
def client(running: tuple[Whole, StockClient]) -> StockClient:
    return running[1]


@pytest.fixture
def answer(system: Whole) -> str:
    """What is answered in this test only: some brokers also hand out what was there before."""
    text = f"The anvil of {uuid.uuid4().hex} is heavy."
    system.model.set_script(script(text))
    return text


def heard(texts: list[str], mark: str) -> dict[str, Any]:
    """The event in which that stands somewhere, as any reader of JSON finds it."""

    def found() -> dict[str, Any] | None:
        return next((json.loads(text) for text in [*texts] if mark in text), None)

    wait_until(found, "the answer", 60)
    return found() or {}


@pytest.mark.promise("ARG-08", "ARG-09")
def test_plain_json_is_answered_and_the_tool_that_is_used_knows_only_the_broker(
    client: StockClient, answer: str
) -> None:
    question = uuid.uuid4().hex
    with scale(client) as tool, client.listen("agent/query/response") as answers:
        client.publish("agent/query/ask", json.dumps({"id": question, "question": "How heavy is an anvil? ü"}))
        event = heard(answers, question)
    assert (event["type"], event["correlationid"]) == ("response", question), event
    assert event["data"]["answer"]["text"] == answer
    steps = {step["name"]: step for step in event["data"]["steps"]}
    assert steps["gateway_scale"]["arguments"] == {"what": "anvil"}
    assert steps["gateway_scale"]["error"] == ""
    call = tool.seen[0]
    assert call == {
        "id": call["id"],
        "task_id": call["id"],
        "tool_id": tool.id,
        "tool_name": "scale",
        "arguments": {"what": "anvil"},
    }


@pytest.mark.promise("ARG-10")
def test_a_tool_of_ours_is_called_in_plain_json(client: StockClient) -> None:
    task = uuid.uuid4().hex
    call = {"task_id": task, "function": "evaluate", "arguments": {"expression": "6 * 7"}}
    with client.listen(topics.tool_response("calculator", task)) as answers:
        client.publish(topics.tool_call("calculator", task), json.dumps(call))
        answer = heard(answers, task)
    assert (answer["task_id"], answer["result"]["value"], answer["error"]) == (task, "42", None)


@pytest.mark.promise("ARG-08")
def test_a_text_that_is_no_json_is_a_question(client: StockClient, answer: str) -> None:
    with scale(client), client.listen("agent/query/response") as answers:
        client.publish("agent/query/ask", "How heavy is it?")
        event = heard(answers, answer)
    assert event["data"]["answer"]["text"] == answer


@pytest.mark.parametrize("killed", ["gateway", "gateway-daprd"])
def test_a_gateway_that_was_killed_still_knows_its_tools(system: Whole, client: StockClient, killed: str) -> None:
    with scale(client):
        system.system.kill(killed)
        system.system.wait_ready()
        answer = httpx.post(
            f"{system.system.url()}/tools/scale", json={"arguments": {"what": "plume"}}, timeout=90, trust_env=False
        )
    assert answer.json() == {"result": {"grams": 5}, "error": None}


@pytest.mark.parametrize("bad", ["rubbish", '{"name": "scale"}', "[1]"])
def test_a_registration_that_does_not_fit_is_a_dead_letter_with_its_reason(
    system: Whole, client: StockClient, bad: str
) -> None:
    content = f"{bad} {uuid.uuid4().hex}" if bad == "rubbish" else json.loads(bad)
    client.publish("agent/tools/register", content if isinstance(content, str) else bad)
    url = f"{system.system.url('recorder')}/deadletters/{Message.from_cloudevent(content).id}"

    def letter() -> Any:
        answer = httpx.get(url, timeout=10, trust_env=False)
        found = answer.json() if answer.status_code == 200 else {}
        return found if found.get("message") and found.get("reasons") else None

    wait_until(letter, "the dead letter with its reason", 30)
    assert letter()["message"]["content"] == content
    assert "ToolRegistration does not fit" in letter()["reasons"][0]["reason"]


@pytest.mark.promise("ARG-12", "ARG-19")
def test_a_tail_sees_what_passes_and_takes_nothing_from_anybody(
    system: Whole, client: StockClient, answer: str
) -> None:
    question = {"id": uuid.uuid4().hex, "question": "How heavy is an anvil?"}
    with tail(system, "agent/#", "agents/+/inbox") as seen, scale(client) as tool:
        with client.listen("agent/query/response") as answers:
            client.publish("agent/query/ask", json.dumps(question))
            heard(answers, answer)
        wait_until(lambda: "agent/query/response" in seen.topics(), "the answer in the tail", 20)
    assert tool.seen
    assert seen.topics() == {
        "agent/tools/register",
        "agent/status/info",
        "agent/query/ask",
        "agents/orchestrator/inbox",
        "agents/researcher/inbox",
        "agents/writer/inbox",
        "agents/reviewer/inbox",
        f"agent/tools/call/{tool.id}",
        f"agent/tools/response/{tool.id}",
        "agent/query/response",
        *(topics.agent_topic(agent) for agent in ("researcher", "writer", "reviewer")),
    }
    [asked] = [row["message"] for row in seen.shown if row["topic"] == "agent/query/ask"]
    assert asked["content"] == question
    [told] = [row["message"] for row in seen.shown if row["topic"] == "agent/query/response"]
    assert told["correlation_id"] == question["id"]


@pytest.mark.promise("MQT-07")
def test_payloads_of_any_kind_are_handed_over_as_they_were_published(system: Whole, client: StockClient) -> None:
    topic, mark = topics.TOOL_REGISTRATIONS, uuid.uuid4().hex
    rpc = {"jsonrpc": "2.0", "method": "weigh", "params": {"what": mark}, "id": 7}
    values: list[Any] = [{"mark": mark, "data": [1, None, "ü"]}, [mark, 2.5], rpc]
    contents: dict[str | bytes, Any] = {json.dumps(value): value for value in values}
    contents[f"text, {mark}:\nü"] = f"text, {mark}:\nü"
    structure = Struct()
    structure.update({"mark": mark, "grams": -7.5})
    for data in (mark.encode() + bytes(range(256)), structure.SerializeToString()):
        contents[data] = base64.b64encode(data).decode()
    with tail(system, topic) as seen:
        for payload in contents:
            client.publish(topic, payload)

        def handed() -> bool:
            found = [row["message"]["content"] for row in [*seen.shown]]
            return all(content in found for content in contents.values())

        wait_until(handed, "all payloads", 30)
    encoded = {row["message"]["content"] for row in seen.shown if row["message"]["encoding"] == "base64"}
    assert encoded == {content for payload, content in contents.items() if isinstance(payload, bytes)}


def test_an_app_that_ends_is_not_held_up_by_a_tail(system: Whole) -> None:
    with tail(system) as seen:
        system.system.halt("writer")
        try:
            wait_until(lambda: any(note.startswith("writer ") for note in seen.notes), "the note", 20)
        finally:
            system.system.resume("writer")
            system.system.wait_ready()
    # Where it had been waited for, its stream would have been cut off.
    assert [note for note in seen.notes if note.startswith("writer ")] == [
        "writer has ended: what it sends now is not seen until it is back\n"
    ]


def topics_of(lines: list[str]) -> dict[str, None]:
    """The topics of lines as a tail shows them, in the order of their first messages."""
    return dict.fromkeys(line.partition(" ")[0] for line in lines)


@pytest.mark.promise("ARG-08", "ARG-09", "ARG-19", "MQT-01")
@pytest.mark.parametrize("running", ["mqtt"], indirect=True)
def test_the_tree_of_topics_is_seen_with_one_wildcard(client: StockClient, answer: str) -> None:
    assert isinstance(client, Mosquitto)
    question = uuid.uuid4().hex
    with client.watch("agent/#") as lines, scale(client) as tool:
        client.publish("agent/query/ask", json.dumps({"id": question, "question": "How heavy is an anvil?"}))
        wait_until(
            lambda: any(line.startswith("agent/query/response ") and answer in line for line in [*lines]),
            "the answer",
            60,
        )
        wait_until(lambda: topics_of([*lines]).keys() >= STEPS, "the steps of each agent", 20)
    assert [topic for topic in topics_of([*lines]) if topic not in {*STEPS, "agent/status/info"}] == [
        "agent/tools/register",
        "agent/query/ask",
        f"agent/tools/call/{tool.id}",
        f"agent/tools/response/{tool.id}",
        "agent/query/response",
    ]
