"""Conditions on messages, and the handlers that are chosen by them."""

import sys
from typing import Any

import pytest
from fastapi import FastAPI

from dovecote import App, Message, MessageType, topics
from dovecote.dapr.inbound import Inbound
from dovecote.delivery import Deliveries
from dovecote.errors import ConfigurationError, InvalidInputError
from dovecote.matching import condition_of
from dovecote.settings import Settings
from dovecote.testing import MemoryBus, Network
from dovecote.testing.bus import MEMORY
from dovecote.topics import Capabilities
from tests.support.eventually import eventually

EVENT = {"id": "1", "type": "task", "priority": 1, "data": {"kind": "analysis", "amount": 12, "tags": ["a", "b"]}}


@pytest.mark.promise("AOS-22")
@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ('event.type == "task"', True),
        ("event.priority <= 1.0", True),
        ("event.priority == 1", True),
        ('event.data.kind == "analysis" && event.data.amount > 100.0', False),
        ("has(event.data.missing) && event.data.missing == 1.0", False),
        ('event.data.tags.exists(tag, tag == "b")', True),
        ('event.type in ["query", "task"]', True),
        ('event.type.startsWith("ta")', True),
        ("event.data.amount / 2.0 == 6.0", True),
    ],
)
def test_a_condition_is_asked_of_an_event(expression: str, holds: bool) -> None:
    assert condition_of(expression)(EVENT) is holds


@pytest.mark.parametrize(
    ("expression", "reason"),
    [("event.data.missing == 1.0", "no field 'missing'"), ("event.type", "neither true nor false")],
)
def test_what_a_condition_cannot_be_asked_of_is_refused_with_the_reason(expression: str, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        condition_of(expression)(EVENT)


@pytest.mark.parametrize("expression", ["event.type ==", "1.0 < 2.0", "type == 'task'"])
def test_a_wrong_condition_stops_the_start(expression: str) -> None:
    with pytest.raises(ConfigurationError, match="the condition"):
        App("taker").subscribe("orders", match=expression)


def test_without_the_library_a_condition_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cel", None)
    with pytest.raises(ConfigurationError, match="needs CEL") as caught:
        condition_of('event.type == "not asked before"')
    assert "dovecote[routing]" in caught.value.mend


async def _published(*contents: Any, rest: bool = True) -> tuple[dict[str, list[Any]], Network]:
    """What each of an app's handlers was given."""
    taker, given = App("taker"), dict[str, list[Any]](large=[], analysis=[], rest=[])

    def keep(name: str, **how: Any) -> None:
        @taker.subscribe("orders", **how)
        async def take(message: Message) -> None:
            given[name].append(message.content)

    if rest:
        keep("rest")
    keep("analysis", match='event.data.kind == "analysis"', priority=2)
    keep("large", match="event.data.amount > 100.0", priority=1)
    async with Network([taker], settings=Settings()) as net:
        for content in contents:
            await taker.bus.publish("orders", content)
        await net.bus.settled()
    return given, net


@pytest.mark.promise("AOS-22")
async def test_a_message_goes_to_the_first_handler_whose_condition_holds_and_else_to_the_one_for_the_rest() -> None:
    large, analysis = {"kind": "analysis", "amount": 101}, {"kind": "analysis", "amount": 1}
    other = {"kind": "x", "amount": 1}
    given, _ = await _published(large, analysis, other)
    assert given == {"large": [large], "analysis": [analysis], "rest": [other]}


async def test_what_no_handler_is_for_is_not_for_the_app_and_is_no_dead_letter() -> None:
    given, net = await _published({"kind": "x", "amount": 1}, rest=False)
    assert given == {"large": [], "analysis": [], "rest": []}
    assert net.bus.events(topics.DEAD_LETTERS) == []


async def test_what_a_condition_cannot_be_asked_of_is_a_dead_letter() -> None:
    given, net = await _published({"kind": "analysis"})
    assert given == {"large": [], "analysis": [], "rest": []}
    await eventually(lambda: net.bus.events(topics.DEAD_LETTERS), "the dead letter")


async def test_what_is_urgent_is_matched_as_well() -> None:
    taker, given = App("taker"), list[str]()

    @taker.subscribe("orders", match='event.type == "task"')
    async def take(message: Message) -> None:
        given.append(message.id)

    async with Network([taker], settings=Settings()) as net:
        for kind in (MessageType.TASK, MessageType.EVENT):
            await net.bus.publish("orders", Message(id=kind, type=kind, sender="a", priority=0))
        await net.bus.settled()
    assert given == ["task"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {}),
        ({"match": 'event.type == "task"'}, {"dead_letter": False}),
        ({"match": 'event.type == "task"'}, {"raw": True}),
    ],
)
async def test_handlers_of_one_topic_that_contradict_each_other_stop_the_start(first: Any, second: Any) -> None:
    taker = App("taker")

    async def take(message: Message) -> None: ...

    taker.subscribe("orders", **first)(take)
    taker.subscribe("orders", **second)(take)
    with pytest.raises(ConfigurationError, match="orders"):
        async with Network([taker], settings=Settings()):
            pass


@pytest.mark.parametrize("how", [{"raw": True}, {"bulk": True}])
def test_what_is_raw_or_comes_in_bulk_has_no_condition(how: Any) -> None:
    async def take(message: Message) -> None: ...

    with pytest.raises(ConfigurationError, match="with a condition and raw or in bulk"):
        App("taker").subscribe("orders", match='event.type == "task"', **how)(take)


async def test_the_sidecar_is_told_the_conditions_in_their_order_and_a_route_for_the_rest() -> None:
    taker = App("taker")

    async def take(message: Message) -> None: ...

    taker.subscribe("logs/info")(take)
    taker.subscribe("logs/error", match='event.type == "event"', priority=2)(take)
    taker.subscribe("logs/error", match='event.source == "a"', priority=1)(take)
    deliveries = Deliveries("taker", MemoryBus(), 1)

    async def broker() -> Capabilities:
        return MEMORY

    plain, ruled = await Inbound(FastAPI(), taker, deliveries, broker)._get_subscriptions()
    assert (plain["topic"], plain["route"]) == ("logs/info", "/deliveries/0")
    assert ruled["topic"] == "logs/error"
    assert "route" not in ruled
    assert ruled["routes"] == {
        "rules": [
            {"match": 'event.source == "a"', "path": "/deliveries/2"},
            {"match": 'event.type == "event"', "path": "/deliveries/1"},
        ],
        "default": "/deliveries/unmatched",
    }
    taker.subscribe("logs/error")(take)
    _, ruled = await Inbound(FastAPI(), taker, deliveries, broker)._get_subscriptions()
    assert ruled["routes"]["default"] == "/deliveries/3"


async def test_a_dead_letter_that_comes_again_goes_to_the_handler_whose_condition_holds() -> None:
    taker, given = App("taker"), list[str]()

    @taker.subscribe("orders", match="event.data.amount > 100.0")
    async def large(_: Message) -> None:
        given.append("large")

    @taker.subscribe("orders", match="event.data.amount > 10.0", priority=1)
    async def small(_: Message) -> None:
        given.append("small")

    async def resubmitted(amount: int) -> Any:
        letter = Message(type=MessageType.TASK, sender="tests", content={"amount": amount})
        what: Any = {"topic": "orders", "message": letter.model_dump(mode="json"), "number": 1}
        return await net.invoke("taker", "resubmissions", what)

    async with Network([taker], settings=Settings()) as net:
        assert [await resubmitted(amount) for amount in (101, 11)] == [None, None]
        assert "takes the message any more" in (await resubmitted(1))["reason"]
    assert given == ["large", "small"]
