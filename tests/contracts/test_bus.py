"""What every bus does."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import JsonValue

from dovecote import Message, MessageType, Reject
from dovecote.errors import ConfigurationError, TooLargeError, UnavailableError
from dovecote.messages import new_id, now
from dovecote.ports import Subscription
from tests.contracts.conftest import Kit
from tests.support.eventually import eventually
from tests.support.messages import full_message
from tests.support.probe import ASKS, FILTERED, HEAP, NEWS, RULED, Probe

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]
CLOUD_EVENT = "application/cloudevents+json"
_POLICY = yaml.safe_load((Path(__file__).parents[2] / "components/shared/resiliency.yaml").read_text())
TRIES = _POLICY["spec"]["policies"]["retries"]["inbound"]["maxRetries"] + 1
TOPICS = pytest.mark.parametrize("topic", [NEWS, HEAP])


def _news(content: Any = "news", **fields: Any) -> Message:
    return Message(type=MessageType.EVENT, sender="tests", content=content, **fields)


def _seen(probe: Probe, content: Any) -> list[Message]:
    return [row for rows in probe.seen.values() for row in rows if row.content == content]


@TOPICS
async def test_a_message_reaches_each_app_once_and_one_replica_of_it(kit: Kit, topic: str) -> None:
    messages = [_news(number) for number in range(20)]
    await asyncio.gather(*(kit.alpha.ports.bus.publish(topic, message) for message in messages))

    def counts() -> tuple[list[int], list[int]]:
        alpha = [len(kit.alpha.seen[message.id]) for message in messages]
        beta = [sum(len(replica.seen[message.id]) for replica in kit.replicas) for message in messages]
        return alpha, beta

    await eventually(lambda: min(map(min, counts())) >= 1, "all messages at both apps")
    assert counts() == ([1] * 20, [1] * 20)


async def test_replicas_of_an_app_share_the_work(kit: Kit) -> None:
    messages = [_news() for _ in range(30)]
    for message in messages:
        kit.beta.does[message.id] = kit.twin.does[message.id] = lambda _: asyncio.sleep(0.05)
    await asyncio.gather(*(kit.alpha.ports.bus.publish(NEWS, message) for message in messages))

    def shares() -> list[int]:
        return [sum(bool(replica.seen[message.id]) for message in messages) for replica in kit.replicas]

    await eventually(lambda: sum(shares()) == 30, "every message at one replica")
    assert min(shares()) > 0


@TOPICS
async def test_every_field_of_a_message_arrives_as_it_was(kit: Kit, topic: str) -> None:
    message = full_message()
    await kit.beta.ports.bus.publish(topic, message)
    (seen,) = await eventually(lambda: kit.alpha.seen[message.id], "the message")
    assert seen == message


@pytest.mark.parametrize(
    "content", ["text", "", 0, 17, 2.5, True, False, None, [], {}, [1, "a"], "{}", '"x"', "17"]
)
async def test_any_json_is_content(kit: Kit, content: Any) -> None:
    message = _news(content)
    await kit.beta.ports.bus.publish(NEWS, message)
    (seen,) = await eventually(lambda: kit.alpha.seen[message.id], "the message")
    assert (type(seen.content), seen.content) == (type(content), content)


async def test_a_batch_arrives_whole(kit: Kit) -> None:
    messages = [_news(number) for number in range(50)]
    await kit.beta.ports.bus.publish_batch(HEAP, messages)
    await eventually(lambda: all(kit.alpha.seen[message.id] for message in messages), "the batch")
    assert [kit.alpha.seen[message.id][0].content for message in messages] == list(range(50))


@TOPICS
async def test_of_a_batch_with_too_large_a_message_nothing_is_published(kit: Kit, topic: str) -> None:
    small, large, last = _news(), _news(metadata={"too": "x" * 20_000_000}), _news()
    with pytest.raises(TooLargeError, match=large.id):
        await kit.beta.ports.bus.publish_batch(topic, [small, large])
    await kit.beta.ports.bus.publish(topic, last)
    await eventually(lambda: kit.alpha.seen[last.id], "the message after it")
    assert not kit.alpha.seen[small.id]


@TOPICS
async def test_a_retryable_error_is_tried_again_until_it_works(kit: Kit, topic: str) -> None:
    message = _news()

    def fail_twice(_: Message) -> None:
        if len(kit.alpha.seen[message.id]) < 3:
            raise UnavailableError("not yet")

    kit.alpha.does[message.id] = fail_twice
    await kit.beta.ports.bus.publish(topic, message)
    await eventually(lambda: len(kit.alpha.seen[message.id]) == 3, "the third try")
    told = await eventually(
        lambda: len(kit.alpha.reasons[message.id]) == 3 and kit.alpha.reasons[message.id], "what became of it"
    )
    *failed, handled = sorted(told, key=lambda row: int(row["attempt"]))
    assert [(row["attempt"], row["consumer"], row["error"], row["reason"], row["verdict"]) for row in failed] == [
        (attempt, "alpha", "UnavailableError", "not yet", "RETRY") for attempt in (1, 2)
    ]
    assert (handled["attempt"], handled["consumer"], handled["verdict"]) == (3, "alpha", "SUCCESS")
    assert not kit.alpha.dead[message.id]


@TOPICS
async def test_a_rejected_message_is_a_dead_letter_at_once_with_its_reason(kit: Kit, topic: str) -> None:
    message = _news({"a": 1})

    def refuse(_: Message) -> None:
        raise Reject("not for me")

    kit.alpha.does[message.id] = refuse
    await kit.beta.ports.bus.publish(topic, message)
    (dead,) = await eventually(lambda: kit.alpha.dead[message.id], "the dead letter")
    (reason,) = await eventually(lambda: kit.alpha.reasons[message.id], "the reason")
    assert dead == message
    assert (reason["reason"], reason["verdict"], reason["topic"]) == ("not for me", "DROP", topic)
    assert "Reject: not for me" in reason["traceback"]
    assert len(kit.alpha.seen[message.id]) == 1


async def test_one_bad_message_of_a_batch_does_not_hold_up_the_others(kit: Kit) -> None:
    messages = [_news(number) for number in range(10)]

    def refuse(_: Message) -> None:
        raise Reject("the seventh")

    kit.alpha.does[messages[6].id] = refuse
    await kit.beta.ports.bus.publish_batch(HEAP, messages)
    await eventually(lambda: kit.alpha.dead[messages[6].id], "the dead letter")
    await eventually(lambda: all(kit.alpha.seen[message.id] for message in messages), "the others")
    assert not any(kit.alpha.dead[message.id] for message in messages if message is not messages[6])


async def test_an_error_that_stays_ends_in_a_dead_letter(kit: Kit) -> None:
    message = _news()

    def fail(_: Message) -> None:
        raise UnavailableError("never")

    kit.alpha.does[message.id] = fail
    await kit.beta.ports.bus.publish(NEWS, message)
    (dead,) = await eventually(lambda: kit.alpha.dead[message.id], "the dead letter", seconds=90)
    assert dead.id == message.id
    tries = len(kit.alpha.seen[message.id])
    assert tries == TRIES
    reasons = await eventually(
        lambda: len(kit.alpha.reasons[message.id]) >= tries and kit.alpha.reasons[message.id],
        "a reason for each try",
    )
    assert {row["attempt"] for row in reasons} == set(range(1, TRIES + 1))


@TOPICS
@pytest.mark.parametrize("rubbish", [{"priority": "soon"}, {"deadline": "tomorrow"}, {"metadata": "{"}])
async def test_an_event_that_is_not_a_message_is_a_dead_letter_with_its_reason(
    kit: Kit, topic: str, rubbish: dict[str, Any]
) -> None:
    event = _news().to_cloudevent() | rubbish
    await kit.publish_foreign(topic, event, CLOUD_EVENT)
    reasons = await eventually(
        lambda: len(kit.alpha.reasons[event["id"]]) == 2 and kit.alpha.reasons[event["id"]], "both apps' reasons"
    )
    assert {(row["consumer"], row["attempt"], row["verdict"], row["error"]) for row in reasons} == {
        ("alpha", 1, "DROP", "InvalidInputError"),
        ("beta", 1, "DROP", "InvalidInputError"),
    }
    assert all(row["event"].items() >= rubbish.items() for row in reasons)


@TOPICS
async def test_an_expired_message_is_not_handled(kit: Kit, topic: str) -> None:
    message = _news(deadline=now() - timedelta(seconds=1))
    await kit.beta.ports.bus.publish(topic, message)
    (dead, *_) = await eventually(lambda: kit.alpha.dead[message.id], "the dead letter")
    assert dead == message
    reasons = await eventually(lambda: kit.alpha.reasons[message.id], "the reason")
    assert "expired" in reasons[0]["reason"]
    assert not kit.alpha.seen[message.id]


async def test_plain_json_of_a_stock_client_is_a_message(kit: Kit) -> None:
    question = f"what is {new_id()}?"
    await kit.publish_foreign(ASKS, {"question": question}, "application/json")
    (seen,) = await eventually(lambda: _seen(kit.alpha, {"question": question}), "the message")
    assert seen.type == MessageType.QUERY


@pytest.mark.parametrize("content", [{"a": [1, "ü"]}, {"id": "mine"}, {}])
async def test_bare_content_is_a_message_where_a_topic_is_taken_raw(kit: Kit, content: Any) -> None:
    before = len(_seen(kit.alpha, content))
    await kit.beta.ports.bus.publish_content(ASKS, content)
    seen = await eventually(lambda: _seen(kit.alpha, content)[before:], "the message")
    assert (seen[0].type, seen[0].sender) == (MessageType.QUERY, "")


async def test_bare_content_that_is_refused_is_a_dead_letter_with_its_reason(kit: Kit) -> None:
    content: dict[str, JsonValue] = {"no good": new_id()}
    message_id = Message.from_cloudevent(content).id

    def refuse(_: Message) -> None:
        raise Reject("not for me")

    kit.alpha.does[message_id] = refuse
    await kit.beta.ports.bus.publish_content(ASKS, content)
    (dead,) = await eventually(lambda: kit.alpha.dead[message_id], "the dead letter")
    (reason,) = await eventually(lambda: kit.alpha.reasons[message_id], "the reason")
    assert (dead.content, reason["reason"]) == (content, "not for me")


@pytest.mark.promise("AOS-22")
async def test_a_message_goes_to_the_handler_whose_condition_holds_and_to_no_other(kit: Kit) -> None:
    large = Message(type=MessageType.TASK, sender="tests", content={"n": 11})
    task = Message(type=MessageType.TASK, sender="tests", content={"n": 10})
    event = Message(type=MessageType.EVENT, sender="tests", content={"kind": "x"})
    nobodys = Message(type=MessageType.QUERY, sender="tests", content={})
    unasked = Message(type=MessageType.EVENT, sender="tests", content={})
    for message in (nobodys, unasked, large, task, event):
        await kit.alpha.ports.bus.publish(RULED, message)
    keys = (f"large {large.id}", f"task {task.id}", event.id)
    await eventually(lambda: all(kit.alpha.seen[key] for key in keys), "each at its handler")
    await eventually(lambda: kit.alpha.dead[unasked.id], "the dead letter of what has no such field")
    for message in (nobodys, unasked, large, task):
        assert kit.alpha.seen[message.id] == []
    assert kit.alpha.seen[f"task {large.id}"] == []
    assert kit.alpha.dead[nobodys.id] == []


@pytest.mark.promise("AOS-21")
async def test_a_sql_filter_lets_through_what_it_holds_for_and_no_more(kit: Kit) -> None:
    content = {"agent_id": "ceo_agent", "n": 2, "kind": "z", "urgent": True, "amount due": -151, "more": [1]}
    unfit = {"agent_id": "cfo", "n": 1.5, "kind": "xy", "gone": 1, "urgent": False, "amount due": "-151"}
    missed = [{**content, name: value} for name, value in unfit.items()]
    missed += [{key: value for key, value in content.items() if key != name} for name in unfit if name in content]
    *others, fits = (
        Message(type=MessageType.EVENT, sender="tests", content=one)
        for one in [*missed, {**content, "kind": "y"}, "ceo_agent", [content], None, 2, content]
    )
    for message in (*others, fits):
        await kit.alpha.ports.bus.publish(FILTERED, message)
    await eventually(lambda: kit.alpha.seen[fits.id], "the message that fits")
    assert kit.alpha.seen[fits.id] == [fits]
    assert [message.content for message in others if kit.alpha.seen[message.id] or kit.alpha.dead[message.id]] == []


async def test_a_topic_can_be_listened_to_while_the_app_runs(kit: Kit) -> None:
    heard: list[Message] = []

    async def hear(message: Message) -> None:
        heard.append(message)
        if len(heard) == 1:
            raise UnavailableError("not yet")

    topic = f"contract/late/{new_id()}"
    bus = kit.beta.ports.bus
    async with kit.alpha.ports.listen(Subscription(topic, hear, raw=True)):
        await bus.publish_content(topic, {"a": 1})
        await eventually(lambda: len(heard) == 2, "the second try")
        news = _news("late")
        await bus.publish(topic, news)
        await eventually(lambda: len(heard) == 3, "the message")
    assert [message.content for message in heard] == [{"a": 1}, {"a": 1}, "late"]
    assert heard[2] == news


async def test_what_a_listener_refuses_is_a_dead_letter(kit: Kit) -> None:
    async def refuse(_: Message) -> None:
        raise Reject("not for me")

    topic = f"contract/late/{new_id()}"
    message = _news()
    async with kit.beta.ports.listen(Subscription(topic, refuse, raw=True)):
        await kit.alpha.ports.bus.publish(topic, message)
        (dead,) = await eventually(lambda: kit.alpha.dead[message.id], "the dead letter")
        (reason,) = await eventually(lambda: kit.alpha.reasons[message.id], "the reason")
    assert (dead, reason["reason"], reason["topic"]) == (message, "not for me", topic)


async def test_a_topic_name_that_some_broker_would_not_take_is_refused(kit: Kit) -> None:
    with pytest.raises(ConfigurationError, match="'News Of Today' is not legal"):
        await kit.alpha.ports.bus.publish("News Of Today", _news())


async def test_content_over_the_brokers_limit_arrives_whole_at_every_app(kit: Kit) -> None:
    message = _news("".join(f"{line:015}\n" for line in range(1_250_000)))
    await kit.beta.ports.bus.publish(NEWS, message)
    (seen,) = await eventually(lambda: kit.alpha.seen[message.id], "the document")
    assert seen == message
    await eventually(lambda: [*kit.beta.seen[message.id], *kit.twin.seen[message.id]], "the document at beta")


async def test_a_large_message_that_is_refused_is_whole_again_when_its_dead_letter_is_opened(kit: Kit) -> None:
    message = _news("x" * 17_000_000)

    def refuse(_: Message) -> None:
        raise Reject("not now")

    kit.alpha.does[message.id] = refuse
    await kit.beta.ports.bus.publish(NEWS, message)
    (dead,) = await eventually(lambda: kit.alpha.dead[message.id], "the dead letter")
    assert dead.content is None
    assert await kit.alpha.ports.reopen(dead) == message
