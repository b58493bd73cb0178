"""A task on its way to an agent: sent until it is taken, then until it is answered, and never done twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dovecote import feed, topics
from dovecote.messages import Message, MessageType
from dovecote.testing import Network
from tests.support.eventually import eventually, passed
from tests.support.plans import asking, obey, running

TAKEN = topics.inbox("ann")
ANSWERS = topics.inbox("lead")


@asynccontextmanager
async def away(net: Network, topic: str, app: str) -> AsyncIterator[None]:
    """Messages for an app are lost meanwhile, as on a broker that keeps nothing."""
    group = net.bus._groups[topic][app]
    consumer = group.members.pop()
    try:
        yield
    finally:
        group.waiting.clear()
        group.members.append(consumer)


async def test_an_unanswered_task_is_sent_again_with_the_same_id_until_it_is_answered() -> None:
    async with running(asking(), resend_after=30) as net:
        async with away(net, TAKEN, "ann"):
            pending = asyncio.create_task(net.ask({}))
            sent = await _sent(net, 1)
        await net.advance(31)
        assert (await pending).answer == "ann: go"
        assert [event["id"] for event in net.bus.events(TAKEN)] == [sent[0]["id"]] * 2


async def _sent(net: Network, count: int) -> list[dict[str, Any]]:
    """The tasks sent to ann, when there are so many and the plan waits for the answer."""

    def look() -> list[dict[str, Any]] | None:
        sent = net.bus.events(TAKEN)
        runs = net.workflows("lead").instances()
        actions = [action for run in runs for action in net.workflows("lead").history(run).actions]
        return sent if len(sent) == count and actions[-1].kind == "event" else None

    found: list[dict[str, Any]] = await eventually(look, f"{count} tasks sent")
    return found


async def test_that_an_agent_is_asked_is_told_before_what_the_agent_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "_LINGER", 60)
    async with running(asking()) as net:
        assert (await net.ask({})).answer == "ann: go"
        told = [(event["data"]["agent"], event["data"]["kind"]) for event in net.bus.events(topics.TASK_EVENTS)]
    assert [agent for agent, kind in told if kind == "started"] == ["lead", "lead", "ann"]


@pytest.mark.parametrize("seconds", [60, 250])
async def test_a_task_is_sent_when_a_broker_that_was_away_is_back(seconds: float) -> None:
    async with running(asking()) as net:
        net.bus.available = False
        pending = asyncio.create_task(net.ask({}))
        await passed(net, seconds)
        assert not net.bus.events(TAKEN)
        net.bus.available = True
        await passed(net, 30)
        assert (await pending).answer == "ann: go"


async def test_a_task_that_cannot_be_sent_fails_with_the_reason_when_the_time_to_take_it_is_over() -> None:
    async with running(asking(), accept_timeout=100) as net:
        net.bus.available = False
        pending = asyncio.create_task(net.ask({}))
        await passed(net, 130)
        net.bus.available = True
        result = await pending
        assert not net.bus.events(topics.DEAD_LETTERS)
    assert result.error is not None
    assert result.error.type == "UnavailableError"


@pytest.mark.promise("ACS-12")
async def test_an_agent_that_does_not_answer_in_time_is_a_deadline() -> None:
    async def hang(*_: Any) -> str:
        await asyncio.Event().wait()
        return "never"

    async with running(asking(timeout=45), hang, resend_after=30) as net:
        pending = asyncio.create_task(net.ask({}))
        await _sent(net, 1)
        await net.advance(31)
        await _sent(net, 2)
        await net.advance(16)
        result = await pending
    assert result.error is not None
    assert (result.error.type, result.error.message) == ("DeadlineError", "agent 'ann' did not answer in time")


async def test_a_task_that_is_taken_is_sent_again_only_now_and_then() -> None:
    release = asyncio.Event()

    async def work(*given: Any) -> Any:
        await release.wait()
        return obey(*given)

    async with running(asking(), work, resend_after=2) as net:
        pending = asyncio.create_task(net.ask({}))
        await _sent(net, 1)
        await net.advance(3)
        await _sent(net, 2)
        (told,) = await eventually(lambda: net.bus.events(ANSWERS), "word that the task is taken")
        assert (told["type"], told["data"]) == ("status", {"state": "accepted"})
        await net.advance(20)
        assert len(net.bus.events(TAKEN)) == 2
        await net.advance(15)
        await _sent(net, 3)
        release.set()
        assert (await pending).answer == "ann: go"


async def test_an_answer_that_got_lost_is_given_again_and_not_worked_out_again() -> None:
    calls: list[str] = []

    def count(*given: Any) -> Any:
        calls.append("called")
        return obey(*given)

    async with running(asking(), count, resend_after=30) as net:
        async with away(net, ANSWERS, "lead"):
            pending = asyncio.create_task(net.ask({}))
            await eventually(lambda: net.bus.events(ANSWERS), "an answer")
        await _sent(net, 1)
        await net.advance(31)
        assert (await pending).answer == "ann: go"
        assert calls == ["called"]


async def test_a_task_that_nobody_takes_is_a_dead_letter_with_its_reason() -> None:
    async with running(asking(), resend_after=60, accept_timeout=100) as net:
        async with away(net, TAKEN, "ann"):
            pending = asyncio.create_task(net.ask({}))
            [sent] = await _sent(net, 1)
            await net.advance(61)
            await _sent(net, 2)
            await net.advance(41)
            result = await pending
        [letter] = net.bus.events(topics.DEAD_LETTERS)
        [reason] = net.bus.events(topics.FAILURES)
    assert letter["id"] == sent["id"]
    assert reason["causationid"] == sent["id"]
    assert (reason["data"]["topic"], reason["data"]["attempt"]) == (TAKEN, 2)
    assert result.error is not None
    assert result.error.type == "AgentUnavailableError"
    assert result.error.message == reason["data"]["reason"]
    assert "did not take task" in result.error.message


async def test_a_request_over_the_bus_that_comes_again_hears_where_it_stands_and_then_its_answer() -> None:
    release = asyncio.Event()

    async def work(*given: Any) -> Any:
        await release.wait()
        return obey(*given)

    request = Message(id="q1", type=MessageType.QUERY, sender="shop", content={}, reply_to="shop/answers")
    async with running(asking(), work) as net:
        for _ in range(2):
            await net.bus.publish(topics.QUERY_ASK, request)
            await net.bus.settled()
        assert [event["type"] for event in net.bus.events("shop/answers")] == ["status"]
        release.set()
        await net.result("q1")
        await net.bus.publish(topics.QUERY_ASK, request)
        await net.bus.settled()
        _, *answers = net.bus.events("shop/answers")
    assert [answer["id"] for answer in answers] == ["q1.reply", "q1.reply"]
    assert answers[0]["data"]["answer"] == answers[1]["data"]["answer"] == "ann: go"


async def test_an_agent_that_is_away_when_it_is_asked_answers_when_it_is_back() -> None:
    async with running(asking(), agent_wait=1) as net:
        await net.stop("ann")
        pending = asyncio.create_task(net.ask({}))
        await eventually(lambda: net.bus.events(TAKEN), "a task for ann")
        await net.start("ann")
        assert (await pending).answer == "ann: go"
