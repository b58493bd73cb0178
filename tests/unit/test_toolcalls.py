"""A tool that is called over the broker, by a client that knows nothing of Dovecote."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dovecote import Tools, topics
from dovecote.errors import UnavailableError
from dovecote.settings import Settings
from dovecote.testing import Network
from dovecote.topics import Capabilities
from services.directory.main import app as directory
from services.tools.calculator.main import app as calculator
from tests.support.eventually import eventually

shop = Tools("shop")
SOLD: list[str] = []


@shop.tool
def sell(what: str) -> int:
    """Sell something; the number of what was sold so far."""
    SOLD.append(what)
    return len(SOLD)


@shop.tool
def close() -> None:
    """Close the shop."""
    raise UnavailableError("the key is away")


@asynccontextmanager
async def _network() -> AsyncIterator[Network]:
    SOLD.clear()
    async with Network([directory, calculator, shop], settings=Settings(model_wait=0)) as net:
        yield net


async def _answers(net: Network, tool: str, count: int = 1) -> list[Any]:
    found: list[Any] = await eventually(
        lambda: net.bus.events(topics.tool_response(tool, "any"))[count - 1 :] and True, "the answer"
    )
    assert found
    return net.bus.events(topics.tool_response(tool, "any"))


@pytest.mark.promise("ARG-10")
async def test_a_tool_is_called_and_answers_on_topics_of_its_own() -> None:
    async with _network() as net:
        call = {"task_id": "t-1", "arguments": {"expression": "6 * 7"}}
        await net.bus.publish_event("tools/calculator/call/t-1", call)
        (answer,) = await _answers(net, "calculator")
    assert (answer["task_id"], answer["result"]["value"], answer["error"]) == ("t-1", "42", None)


@pytest.mark.promise("ARG-10")
async def test_a_tool_tells_what_it_offers_and_whether_it_is_there() -> None:
    async with _network() as net:
        await eventually(lambda: net.bus.events("tools/shop/status"), "the status")
        (offer,) = net.bus.events("tools/shop/register")
        assert [one["name"] for one in offer["data"]["functions"]] == ["sell", "close"]
        await net.stop("shop")
        await eventually(lambda: len(net.bus.events("tools/shop/status")) > 1, "the other status")
        states = [event["data"]["state"] for event in net.bus.events("tools/shop/status")]
    assert states == ["online", "offline - clean disconnect"]


async def test_a_call_that_comes_again_is_answered_again_and_made_once() -> None:
    async with _network() as net:
        call = {"task_id": "t", "function": "sell", "arguments": {"what": "hat"}}
        await net.bus.publish_event("tools/shop/call/t", call)
        await _answers(net, "shop")
        await net.bus.publish_event("tools/shop/call", call)
        first, second = await _answers(net, "shop", 2)
    assert first == second == {"task_id": "t", "result": 1, "error": None}
    assert SOLD == ["hat"]


async def test_a_call_whose_answer_could_not_be_published_is_answered_when_it_comes_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with _network() as net:
        publish = net.bus.publish_event

        async def fail(topic: str, event: Any) -> None:
            if topic.startswith("tools/shop/response"):
                raise UnavailableError("the broker is away")
            await publish(topic, event)

        call = {"task_id": "t", "function": "sell", "arguments": {"what": "hat"}}
        with monkeypatch.context() as away:
            away.setattr(net.bus, "publish_event", fail)
            await net.bus.publish_event("tools/shop/call/t", call)
            await net.bus.settled()
            assert (await net.workflows("shop").finished("t")).status == "failed"
        await net.bus.publish_event("tools/shop/call/t", call)
        (answer,) = await _answers(net, "shop")
    assert answer == {"task_id": "t", "result": 1, "error": None}
    assert SOLD == ["hat"]


async def test_the_same_call_without_a_task_is_made_each_time() -> None:
    async with _network() as net:
        for count in (1, 2):
            await net.bus.publish_event("tools/shop/call", {"function": "sell", "arguments": {"what": "hat"}})
            await _answers(net, "shop", count)
    assert SOLD == ["hat", "hat"]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        ({"task_id": "t"}, "NotFoundError", "it has: sell, close"),
        ({"task_id": "t", "function": "steal"}, "NotFoundError", "'steal'"),
        ({"task_id": "t", "function": "sell", "arguments": {"wat": 1}}, "InvalidInputError", "what"),
        ({"task_id": "t", "function": "close"}, "UnavailableError", "the key is away"),
    ],
)
async def test_what_cannot_be_done_is_answered_with_the_reason(call: Any, error: str, text: str) -> None:
    async with _network() as net:
        await net.bus.publish_event("tools/shop/call/t", call)
        (answer,) = await _answers(net, "shop")
    assert (answer["task_id"], answer["result"], answer["error"]["type"]) == ("t", None, error)
    assert text in answer["error"]["message"]


async def test_what_is_no_call_is_a_dead_letter() -> None:
    async with _network() as net:
        await net.bus.publish_event("tools/shop/call", {"arguments": "all"})
        await eventually(lambda: net.bus.events(topics.DEAD_LETTERS), "the dead letter")
        (told,) = net.bus.events(topics.FAILURES)
    assert "BrokeredCall" not in told["data"]["reason"]
    assert "arguments" in told["data"]["reason"]


@pytest.mark.parametrize(
    ("wildcards", "separator", "subscribed", "answered"),
    [
        (True, "/", "tools/shop/call/#", "tools/shop/response/t-1"),
        (False, ".", "tools.shop.call", "tools.shop.response"),
    ],
)
def test_a_task_has_a_topic_of_its_own_where_the_broker_has_wildcards(
    wildcards: bool, separator: str, subscribed: str, answered: str
) -> None:
    broker = Capabilities(broker="any", separator=separator, group_prefix="", durable=True, wildcards=wildcards)
    assert broker.subscription(topics.tool_tasks("shop"), "shop") == subscribed
    assert broker.spell(topics.tool_response("shop", "T.1")) == answered
    assert broker.spell(topics.tool_tasks("shop")) == subscribed.removesuffix("/#")
