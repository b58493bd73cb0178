"""Requests and answers over the bus, in memory."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from dovecote import App, Mailbox, Message, MessageType, Priority, Reject, once, topics
from dovecote.errors import (
    CommandRejectedError,
    ConfigurationError,
    ConflictError,
    DeadlineError,
    InvalidInputError,
    ToolError,
)
from dovecote.ports import Item
from dovecote.results import TaskResult
from dovecote.settings import Settings
from dovecote.testing import Network
from tests.support.eventually import eventually
from tests.support.plans import asking, running

pytestmark = pytest.mark.promise("AOS-06")
SOON = Settings(resend_after=0.1)


class Bank:
    """An app that answers requests; `does` is what it does with one."""

    def __init__(self) -> None:
        self.app = App("bank")
        self.asked: list[Message] = []
        self.goes = asyncio.Event()
        self.goes.set()
        self.app.bus.subscribe(types=[MessageType.QUERY])(self.answer)

    async def answer(self, message: Message) -> Any:
        self.asked.append(message)
        await self.goes.wait()
        if message.content == "no":
            raise Reject("not here")
        return {"twice": [message.content] * 2}


@pytest.fixture
def busy_banks(monkeypatch: pytest.MonkeyPatch) -> list[Bank]:
    """Two replicas whose handlers wait, and count as gone soon after they are killed."""
    monkeypatch.setattr(once, "LEASE", 0.3)
    banks = [Bank(), Bank()]
    for bank in banks:
        bank.goes.clear()
    return banks


@contextlib.asynccontextmanager
async def _asker(*others: App, settings: Settings = SOON) -> AsyncIterator[tuple[App, Network]]:
    app = App("ann", requests=True)
    async with Network([app, *others], settings=settings) as net:
        yield app, net


async def test_a_request_is_answered() -> None:
    bank = Bank()
    async with _asker(bank.app) as (ann, _):
        answer = await ann.bus.request("bank", 7, priority=Priority.HIGH, metadata={"a": "b"})
    [asked] = bank.asked
    assert (answer.content, answer.type, answer.sender) == ({"twice": [7, 7]}, MessageType.RESPONSE, "bank")
    assert (answer.correlation_id, answer.recipient, answer.priority) == (asked.id, "ann", Priority.HIGH)
    assert (asked.type, asked.reply_to, asked.metadata) == (MessageType.QUERY, topics.replies("ann"), {"a": "b"})


async def test_each_of_three_hundred_requests_of_three_replicas_gets_its_own_answer() -> None:
    askers = [App("ann", requests=True) for _ in range(3)]
    banks = [Bank(), Bank()]
    async with Network([*askers, *(bank.app for bank in banks)], settings=Settings(resend_after=25)) as net:
        asked = [(asker, f"{number}") for number in range(100) for asker in askers]
        answers = await asyncio.gather(*(asker.bus.request("bank", text) for asker, text in asked))
        assert len(net.bus.events(topics.inbox("bank"))) == 300
    assert [answer.content for answer in answers] == [{"twice": [text] * 2} for _, text in asked]
    assert min(len(bank.asked) for bank in banks) > 0
    assert sum(asker.bus.late_answers for asker in askers) == 0


async def test_a_refusal_is_the_error_that_the_recipient_raised() -> None:
    async with _asker(Bank().app) as (ann, net):
        with pytest.raises(Reject, match="not here"):
            await ann.bus.request("bank", "no")
        assert not net.bus.events(topics.DEAD_LETTERS)


@pytest.mark.parametrize("kind", [MessageType.TASK, MessageType.COMMAND])
async def test_who_asks_for_what_no_handler_takes_is_told_at_once_and_it_is_a_dead_letter(
    kind: MessageType,
) -> None:
    async with _asker(Bank().app, settings=Settings(resend_after=25)) as (ann, net):
        with pytest.raises(InvalidInputError, match=f"app 'bank' has no handler for {kind.value} 'r1'") as refused:
            await ann.bus.request("bank", 7, type=kind, id="r1", timeout=5)
        await net.bus.settled()
        assert [row["id"] for row in net.bus.events(topics.DEAD_LETTERS)] == ["r1"]
    assert isinstance(refused.value, CommandRejectedError) == (kind is MessageType.COMMAND)


async def test_who_asks_what_is_refused_from_a_mailbox_is_told_why() -> None:
    app = App("bank")
    box = Mailbox(app)
    async with _asker(app) as (ann, net):
        asking = asyncio.create_task(ann.bus.request("bank", 7, timeout=10))
        request = await box.receive(timeout=10)
        assert request is not None
        await box.nack(request.id, requeue=False, reason="who knows")
        with pytest.raises(Reject, match="who knows"):
            await asking
        assert [row["id"] for row in net.bus.events(topics.DEAD_LETTERS)] == [request.id]


async def test_an_answer_that_is_not_json_is_an_error() -> None:
    app = App("bank")

    @app.bus.subscribe()
    async def answer(_: Message) -> object:
        return object()

    async with _asker(app) as (ann, _net):
        with pytest.raises(ToolError, match="not JSON"):
            await ann.bus.request("bank", 1)


async def test_a_request_without_answer_ends_with_what_was_tried() -> None:
    async with _asker() as (ann, _):
        with pytest.raises(
            DeadlineError, match=r"'bank' did not answer query '.*' within 0.5 s, .* sent [23] times"
        ) as failed:
            await ann.bus.request("bank", 7, timeout=0.5)
    assert "see that 'bank' runs" in failed.value.mend


async def test_a_request_that_cannot_be_published_ends_with_the_reason() -> None:
    async with _asker() as (ann, net):
        net.bus.available = False
        with pytest.raises(DeadlineError, match="the broker is not available"):
            await ann.bus.request("bank", 7, timeout=0.2)
        net.bus.available = True


async def test_a_request_is_sent_again_until_its_recipient_is_there_and_is_handled_once() -> None:
    bank = Bank()
    async with _asker(bank.app) as (ann, net):
        await net.stop("bank")
        asking = asyncio.create_task(ann.bus.request("bank", 7))
        await eventually(lambda: len(net.bus.events(topics.inbox("bank"))) >= 3, "three tries")
        await net.start("bank")
        assert (await asking).content == {"twice": [7, 7]}
        await net.bus.settled()
    assert len(bank.asked) == 1


async def test_a_request_that_comes_again_while_it_is_handled_is_told_so_and_not_handled_twice(
    busy_banks: list[Bank],
) -> None:
    banks = busy_banks
    async with _asker(*(bank.app for bank in banks)) as (ann, net):
        asking = asyncio.create_task(ann.bus.request("bank", 7))

        def accepted() -> list[Any]:
            return [row for row in net.bus.events(topics.replies("ann")) if row["type"] == "status"]

        await eventually(accepted, "the news that it is under way")
        for bank in banks:
            bank.goes.set()
        assert (await asking).content == {"twice": [7, 7]}
        await net.bus.settled()
        assert ann.bus.late_answers == 0
    assert sum(len(bank.asked) for bank in banks) == 1


async def test_a_request_whose_handler_was_killed_is_handled_by_another_replica(
    busy_banks: list[Bank],
) -> None:
    banks = busy_banks
    async with _asker(*(bank.app for bank in banks)) as (ann, net):
        asking = asyncio.create_task(ann.bus.request("bank", 7))
        await eventually(lambda: any(bank.asked for bank in banks), "a handler")
        first = next(number for number, bank in enumerate(banks) if bank.asked)
        await net.stop(["bank", "bank-2"][first])
        banks[1 - first].goes.set()
        assert (await asking).content == {"twice": [7, 7]}
    assert [len(bank.asked) for bank in banks] == [1, 1]


@pytest.mark.parametrize("second", [0, 1])
async def test_a_request_that_is_sent_again_after_it_was_given_up_is_answered_at_any_replica(second: int) -> None:
    askers, bank, names = (
        [App("ann", requests=True) for _ in range(2)],
        Bank(),
        [f"r{number}" for number in range(6)],
    )
    bank.goes.clear()
    async with Network([*askers, bank.app], settings=Settings(resend_after=25)) as net:
        for name in names:
            with pytest.raises(DeadlineError):
                await askers[0].bus.request("bank", name, id=name, timeout=0.05)
        bank.goes.set()
        await net.bus.settled()
        assert sum(asker.bus.late_answers for asker in askers) == 6
        for name in names:
            answer = await askers[second].bus.request("bank", name, id=name, timeout=5)
            assert answer.content == {"twice": [name] * 2}


async def test_a_request_of_an_id_whose_answer_is_waited_for_is_refused_and_the_first_one_answered() -> None:
    bank = Bank()
    bank.goes.clear()
    async with _asker(bank.app) as (ann, _):
        asking = asyncio.create_task(ann.bus.request("bank", 7, id="r1"))
        await eventually(lambda: bank.asked, "the first one")
        with pytest.raises(ConflictError, match="query 'r1' was sent before, and its answer is waited for"):
            await ann.bus.request("bank", 7, id="r1")
        bank.goes.set()
        assert (await asking).content == {"twice": [7, 7]}


async def test_a_request_that_was_cut_off_can_be_sent_again() -> None:
    bank = Bank()
    bank.goes.clear()
    async with _asker(bank.app) as (ann, _):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ann.bus.request("bank", 7, id="r1"), 0.05)
        bank.goes.set()
        assert (await ann.bus.request("bank", 7, id="r1")).content == {"twice": [7, 7]}


async def test_only_answers_are_looked_for_by_who_waits_for_no_acceptance(monkeypatch: pytest.MonkeyPatch) -> None:
    bank, looked = Bank(), list[Sequence[str]]()
    bank.goes.clear()
    async with _asker(bank.app) as (ann, net):
        state = net.state("ann")
        get_many = state.get_many

        async def note(keys: Sequence[str]) -> dict[str, Item]:
            looked.append(keys)
            return await get_many(keys)

        monkeypatch.setattr(state, "get_many", note)
        asking = asyncio.create_task(ann.bus.request("bank", 7, id="r1"))
        await eventually(lambda: any(looked), "a look")
        bank.goes.set()
        await asking
    assert {key for keys in looked for key in keys} == {"reply:r1:answer"}


async def test_a_late_answer_is_discarded_counted_once_and_told(caplog: pytest.LogCaptureFixture) -> None:
    bank = Bank()
    bank.goes.clear()
    async with _asker(bank.app, settings=Settings(resend_after=0.05)) as (ann, net):
        with pytest.raises(DeadlineError):
            await ann.bus.request("bank", 7, timeout=0.3, id="r1")
        with caplog.at_level(logging.WARNING):
            bank.goes.set()
            await eventually(lambda: ann.bus.late_answers, "the late answer")
            await net.bus.settled()
    assert ann.bus.late_answers == 1
    assert b"message_bus_answers_late_total 1.0" in ann.metrics.text()
    assert "answer 'r1.reply' of 'bank' to request 'r1' came too late, and is discarded; 1 so far" in caplog.text


async def test_an_answer_that_is_too_late_at_another_replica_counts_as_late() -> None:
    askers = [App("ann", requests=True) for _ in range(2)]
    bank = Bank()
    bank.goes.clear()
    async with Network([*askers, bank.app], settings=SOON) as net:
        for number in range(8):
            with pytest.raises(DeadlineError):
                await askers[0].bus.request("bank", number, timeout=0.05)
        bank.goes.set()
        await eventually(lambda: sum(asker.bus.late_answers for asker in askers) == 8, "all answers")
        await net.bus.settled()
    assert all(asker.bus.late_answers for asker in askers)


async def test_a_request_of_a_workflow_is_answered_though_the_asker_was_away_when_the_answer_came() -> None:
    going, go = asyncio.Event(), asyncio.Event()

    async def slow(*_: Any) -> str:
        going.set()
        await go.wait()
        return "done"

    async with running(asking(), slow) as net:
        started = TaskResult.model_validate(await net.invoke("lead", "tasks", {"content": {}}))
        await asyncio.wait_for(going.wait(), 10)
        await net.stop("lead")
        go.set()
        await eventually(lambda: net.bus.events(topics.inbox("lead")), "the answer")
        await net.start("lead")
        assert (await net.result(started.task_id)).answer == "done"


async def test_an_app_that_takes_no_answers_cannot_ask() -> None:
    app = App("ann")
    async with Network([app]):
        with pytest.raises(ConfigurationError, match="'ann' takes no answers") as failed:
            await app.bus.request("bank", 7)
    assert failed.value.mend == "write App('ann', requests=True)"


async def test_an_inbox_that_the_app_takes_itself_is_not_opened() -> None:
    app = App("ann")

    @app.subscribe(topics.inbox("ann"))
    async def take(_: Message) -> None: ...

    with pytest.raises(ConfigurationError, match="subscribes to 'agents/ann/inbox' itself"):
        app.bus.subscribe()(take)


@pytest.mark.promise("AOS-05")
async def test_a_message_goes_to_the_first_handler_that_it_fits() -> None:
    app, seen = App("bank"), list[str]()

    @app.bus.subscribe(types=[MessageType.EVENT], priorities=[Priority.CRITICAL, Priority.HIGH])
    async def urgent(message: Message) -> None:
        seen.append(f"urgent {message.content}")

    @app.bus.subscribe(types=[MessageType.EVENT, MessageType.NOTIFICATION])
    async def other(message: Message) -> None:
        seen.append(f"other {message.content}")

    async with _asker(app) as (ann, net):
        await ann.bus.send("bank", 1)
        await ann.bus.send("bank", 2, type=MessageType.EVENT, priority=Priority.HIGH)
        await ann.bus.broadcast(3)
        await ann.bus.broadcast(4, type=MessageType.STATUS)
        refused = await ann.bus.send("bank", 5, type=MessageType.TASK)
        await app.bus.broadcast(6)
        await net.bus.settled()
        dead = [row["id"] for row in net.bus.events(topics.DEAD_LETTERS)]
        [reason] = net.bus.events(topics.FAILURES)
    assert sorted(seen) == ["other 1", "other 3", "urgent 2"]
    assert dead == [refused.id]
    assert "no handler for task" in reason["data"]["reason"]


async def test_handlers_of_one_topic_share_it_and_ignore_the_rest() -> None:
    app, seen = App("bank"), list[Any]()

    async def keep(message: Message) -> None:
        seen.append(message.content)

    app.bus.subscribe("news", types=[MessageType.EVENT])(keep)
    app.bus.subscribe("news", priorities=[Priority.CRITICAL])(keep)
    async with _asker(app) as (ann, net):
        await ann.bus.publish("news", 1)
        await ann.bus.publish("news", 2, type=MessageType.STATUS)
        await ann.bus.publish("news", 3, type=MessageType.STATUS, priority=Priority.CRITICAL)
        await net.bus.settled()
        assert not net.bus.events(topics.DEAD_LETTERS)
    assert sorted(seen) == [1, 3]


async def test_messages_of_one_key_have_their_turn_one_after_the_other() -> None:
    app, steps, go = App("bank"), list[str](), asyncio.Event()

    @app.bus.subscribe("sums", order_key=lambda message: str(message.content)[0])
    async def add(message: Message) -> None:
        steps.append(f"{message.content} begins")
        if message.content == "a1":
            await go.wait()
        steps.append(f"{message.content} ends")

    async with _asker(app) as (ann, net):
        for content in ("a1", "a2", "b1", "a3"):
            await ann.bus.publish("sums", content)
        await eventually(lambda: "b1 ends" in steps, "the other key")
        assert "a2 begins" not in steps
        go.set()
        await net.bus.settled()
    assert [step for step in steps if step.startswith("a")] == [
        f"a{number} {what}" for number in (1, 2, 3) for what in ("begins", "ends")
    ]


async def test_a_request_with_fields_that_do_not_fit_is_refused_before_it_is_sent() -> None:
    async with _asker() as (ann, net):
        with pytest.raises(InvalidInputError, match="ttl"):
            await ann.bus.request("bank", 1, ttl=-1)
        assert not net.bus.events(topics.inbox("bank"))
