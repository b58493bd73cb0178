"""Clients that know nothing of Dovecote take part on each broker: they ask, and they are tools."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from dovecote import Message
from tests.support.brokers import broker_setup
from tests.support.stock_clients import Mosquitto, StockClient, stock_client
from tests.support.waiting import wait_until
from tests.support.whole import Whole, whole

pytestmark = pytest.mark.timeout(1500)

BROKERS = ["redis", "mqtt", "rabbitmq", "kafka"]
SCALE = {
    "name": "scale",
    "description": "Weigh something, in grams.",
    "parameters": {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]},
}


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


class Scale:
    """A tool that only knows the broker: answers each call, also one that comes again."""

    def __init__(self, client: StockClient, tool_id: str, calls: list[str]) -> None:
        self.id = tool_id
        self.seen: list[dict[str, Any]] = []
        self._client = client
        self._calls = calls
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _work(self) -> None:
        number = 0
        while not self._over.wait(0.02):
            for text in self._calls[number:]:
                number += 1
                call = json.loads(text)
                self.seen.append(call)
                result = {"grams": len(call["arguments"]["what"])}
                response = json.dumps({"id": call["id"], "result": result})
                self._client.publish(f"agent/tools/response/{self.id}", response)


@contextmanager
def scale(client: StockClient) -> Iterator[Scale]:
    """The tool, registered and confirmed, under an id of its own, which no earlier news has."""
    tool_id = f"scale-{uuid.uuid4().hex}"
    with client.listen("agent/status/info") as news, client.listen(f"agent/tools/call/{tool_id}") as calls:
        client.publish("agent/tools/register", json.dumps(SCALE | {"id": tool_id}))
        wait_until(
            lambda: any("TOOL_REGISTERED" in text and tool_id in text for text in [*news]), "the confirmation", 30
        )
        tool = Scale(client, tool_id, calls)
        try:
            yield tool
        finally:
            tool.stop()


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
    seen = [line.partition(" ")[0] for line in lines]
    assert [topic for topic in dict.fromkeys(seen) if topic != "agent/status/info"] == [
        "agent/tools/register",
        "agent/query/ask",
        f"agent/tools/call/{tool.id}",
        f"agent/tools/response/{tool.id}",
        "agent/query/response",
    ]
