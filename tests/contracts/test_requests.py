"""Requests, commands and delivery modes on every bus and state store."""

import asyncio
import itertools

import pytest

from dovecote import DeliveryMode, Message, MessageType, Reject
from dovecote.errors import CommandRejectedError, DeadlineError
from dovecote.messages import new_id
from tests.contracts.conftest import Kit
from tests.support.eventually import eventually
from tests.support.probe import NEWS

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]


@pytest.mark.promise("AOS-06")
async def test_each_replica_that_asks_gets_its_own_answers(kit: Kit) -> None:
    asked = [(asker, new_id()) for asker in kit.replicas for _ in range(50)]
    answers = await asyncio.gather(*(asker.app.bus.request("alpha", text) for asker, text in asked))
    assert [answer.content for answer in answers] == [{"answer": text, "done": None} for _, text in asked]
    assert [len(kit.alpha.seen[str(answer.correlation_id)]) for answer in answers] == [1] * 100


@pytest.mark.promise("AOS-06")
async def test_a_refused_request_raises_what_its_recipient_raised(kit: Kit) -> None:
    name = new_id()

    def refuse(_: Message) -> None:
        raise Reject("not for me")

    kit.alpha.does[name] = refuse
    with pytest.raises(Reject, match="not for me"):
        await kit.beta.app.bus.request("alpha", 1, id=name)


@pytest.mark.promise("AOS-06")
async def test_a_late_answer_is_discarded_and_counted(kit: Kit) -> None:
    name, go = new_id(), asyncio.Event()
    kit.beta.does[name] = kit.twin.does[name] = lambda _: go.wait()
    before = kit.alpha.app.bus.late_answers
    with pytest.raises(DeadlineError, match="'beta' did not answer"):
        await kit.alpha.app.bus.request("beta", 1, id=name, timeout=1)
    go.set()
    await eventually(lambda: kit.alpha.app.bus.late_answers == before + 1, "the late answer")


@pytest.mark.promise("AOS-05")
async def test_what_is_sent_or_broadcast_is_handled_at_one_replica_of_who_it_is_for(kit: Kit) -> None:
    sent = await kit.alpha.app.bus.send("beta", "for beta")
    told = await kit.alpha.app.bus.broadcast("for all")

    def counts() -> list[int]:
        return [sum(len(replica.seen[message.id]) for replica in kit.replicas) for message in (sent, told)]

    await eventually(lambda: counts() == [1, 1], "both messages")
    assert not kit.alpha.seen[sent.id]
    assert not kit.alpha.seen[told.id]


@pytest.mark.promise("AOS-07")
async def test_a_command_is_carried_out_once_and_a_wrong_one_refused(kit: Kit) -> None:
    key = new_id()
    before = [len(replica.sums) for replica in kit.replicas]
    bus = kit.alpha.app.bus
    accepted = await asyncio.gather(
        *(bus.command("beta", "add", {"number": 2}, idempotency_key=key) for _ in range(3))
    )
    outcomes = {await command.outcome() for command in accepted}
    assert len(outcomes) == 1
    for command, replica in itertools.product(accepted, (kit.beta, kit.twin)):
        status = await replica.ports.workflows.status(command.id)
        assert status is None or status.status != "failed", status
    assert sum(len(replica.sums) for replica in kit.replicas) == sum(before) + 1
    with pytest.raises(CommandRejectedError, match="'beta' has no command 'subtract'") as refused:
        await bus.command("beta", "subtract")
    assert '"required": ["number"]' in refused.value.mend


@pytest.mark.promise("AOS-09")
@pytest.mark.parametrize("mode", [DeliveryMode.AT_MOST_ONCE, DeliveryMode.EXACTLY_ONCE])
async def test_a_message_that_is_published_five_times_is_handled_once(kit: Kit, mode: DeliveryMode) -> None:
    message = Message(type=MessageType.EVENT, sender="tests", delivery=mode)
    last = Message(type=MessageType.EVENT, sender="tests")
    for _ in range(5):
        await kit.alpha.app.bus.publish(NEWS, message)
    await kit.alpha.app.bus.publish(NEWS, last)
    await eventually(lambda: kit.alpha.seen[message.id] and kit.alpha.seen[last.id], "the messages")
    assert len(kit.alpha.seen[message.id]) == 1
    assert not kit.alpha.dead[message.id]
