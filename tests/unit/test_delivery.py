"""What becomes of a delivered message."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest
from pydantic import JsonValue

from dovecote import DeliveryMode, Message, MessageType, Priority, Reject, topics
from dovecote.deadletters import UNREADABLE
from dovecote.delivery import Deliveries
from dovecote.errors import BudgetError, ConflictError, ModelError, NotBegunError, TooLargeError, UnavailableError
from dovecote.messages import now
from dovecote.ports import Handler, Subscription
from dovecote.testing import MemoryBus

MESSAGE = Message(id="m1", type=MessageType.EVENT, sender="tests", content="news")


def _raising(error: Exception | None) -> Handler:
    async def handle(_: Message) -> None:
        if error:
            raise error

    return handle


def _subscription(handler: Handler, **fields: Any) -> Subscription:
    return Subscription("some/topic", handler, **fields)


def _deliveries(limit: int = 10) -> tuple[Deliveries, Callable[[], list[dict[str, Any]]]]:
    bus = MemoryBus()

    def reasons() -> list[dict[str, Any]]:
        return [event["data"] for event in bus.events(topics.FAILURES)]

    return Deliveries("consumer", bus, limit), reasons


async def test_a_handler_that_returns_is_a_success_and_nothing_is_told() -> None:
    deliveries, reasons = _deliveries()
    assert await deliveries.deliver(_subscription(_raising(None)), MESSAGE.to_cloudevent()) == "SUCCESS"
    assert reasons() == []


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (UnavailableError("away"), "RETRY"),
        (ConflictError("first"), "RETRY"),
        (KeyError("bug"), "RETRY"),
        (TimeoutError(), "RETRY"),
        (Reject("no"), "DROP"),
        (ModelError("key"), "DROP"),
        (BudgetError("dear"), "DROP"),
    ],
)
async def test_the_error_of_a_handler_decides_and_is_told_with_its_reason(error: Exception, verdict: str) -> None:
    deliveries, reasons = _deliveries()
    assert await deliveries.deliver(_subscription(_raising(error)), MESSAGE.to_cloudevent()) == verdict
    (reason,) = reasons()
    assert reason.pop("traceback").startswith("Traceback")
    assert reason == {
        "message_id": "m1",
        "topic": "some/topic",
        "consumer": "consumer",
        "attempt": 1,
        "verdict": verdict,
        "error": type(error).__name__,
        "reason": str(error),
    }


async def test_attempts_are_counted_until_one_works() -> None:
    deliveries, reasons = _deliveries()
    failing, working = _subscription(_raising(UnavailableError("away"))), _subscription(_raising(None))
    event = MESSAGE.to_cloudevent()
    for _ in range(3):
        await deliveries.deliver(failing, event)
    await deliveries.deliver(failing, event | {"id": "another"})
    assert [reason["attempt"] for reason in reasons()] == [1, 2, 3, 1]
    await deliveries.deliver(working, event)
    await deliveries.deliver(failing, event)
    assert reasons()[-1]["attempt"] == 1


async def test_each_reason_is_a_message_of_its_own_that_names_its_cause() -> None:
    bus = MemoryBus()
    deliveries = Deliveries("consumer", bus, 1)
    for _ in range(2):
        await deliveries.deliver(_subscription(_raising(UnavailableError("away"))), MESSAGE.to_cloudevent())
    first, second = (Message.from_cloudevent(event) for event in bus.events(topics.FAILURES))
    assert first.id != second.id
    assert first.causation_id == second.causation_id == "m1"


@pytest.mark.parametrize("event", [{}, {"id": "x", "time": "noon"}, {"id": "x", "type": "task", "ttl": "-1"}])
async def test_what_is_no_message_is_dropped_and_kept_with_its_reason(event: dict[str, JsonValue]) -> None:
    deliveries, reasons = _deliveries()
    ran = False

    async def handle(_: Message) -> None:
        nonlocal ran
        ran = True

    bad: JsonValue = {"specversion": "1.0", **event}
    assert await deliveries.deliver(_subscription(handle), bad) == "DROP"
    (reason,) = reasons()
    assert (reason["error"], reason["event"]) == ("InvalidInputError", bad)
    assert not ran


async def test_reasons_of_plain_json_name_the_id_that_its_dead_letter_will_have() -> None:
    deliveries, reasons = _deliveries()
    plain: JsonValue = {"question": "why?"}
    assert await deliveries.deliver(_subscription(_raising(Reject("no"))), plain) == "DROP"
    assert reasons()[0]["message_id"] == Message.from_cloudevent(plain).id


async def test_an_expired_message_is_not_handled_but_kept_by_who_takes_dead_letters() -> None:
    deliveries, reasons = _deliveries()
    taken: list[Message] = []

    async def handle(message: Message) -> None:
        taken.append(message)

    event = MESSAGE.model_copy(update={"deadline": now() - timedelta(seconds=1)}).to_cloudevent()
    assert await deliveries.deliver(_subscription(handle), event) == "DROP"
    assert taken == []
    assert "expired" in reasons()[0]["reason"]
    assert await deliveries.deliver(_subscription(handle, dead_letter=False), event) == "SUCCESS"
    assert [message.id for message in taken] == ["m1"]


async def test_a_last_stop_tells_no_reasons_of_its_own() -> None:
    deliveries, reasons = _deliveries()
    subscription = _subscription(_raising(UnavailableError("away")), dead_letter=False)
    assert await deliveries.deliver(subscription, MESSAGE.to_cloudevent()) == "RETRY"
    assert reasons() == []


@pytest.mark.parametrize("says", [{"delivery": DeliveryMode.AT_MOST_ONCE}, {"max_attempts": 1}])
async def test_a_last_stop_loses_nothing_whatever_a_message_says(says: dict[str, Any]) -> None:
    deliveries, _ = _deliveries()
    subscription = _subscription(_raising(UnavailableError("away")), dead_letter=False)
    once = MESSAGE.model_copy(update=says)
    assert await deliveries.deliver(subscription, once.to_cloudevent()) == "RETRY"


@pytest.mark.promise("AOS-10")
async def test_the_last_attempt_that_a_message_allows_gives_it_up_with_its_reason() -> None:
    deliveries, reasons = _deliveries()
    event = MESSAGE.model_copy(update={"max_attempts": 3}).to_cloudevent()
    failing = _subscription(_raising(UnavailableError("away")))
    assert [await deliveries.deliver(failing, event) for _ in range(3)] == ["RETRY", "RETRY", "DROP"]
    told = [(reason["attempt"], reason["verdict"], reason["reason"]) for reason in reasons()]
    assert told == [(1, "RETRY", "away"), (2, "RETRY", "away"), (3, "DROP", "away")]


@pytest.mark.promise("AOS-06")
@pytest.mark.parametrize(
    ("error", "told"), [(UnavailableError("away"), "UnavailableError"), (KeyError("a bug"), "DovecoteError")]
)
async def test_who_asked_is_told_why_the_last_attempt_that_a_request_allows_has_failed(
    error: Exception, told: str
) -> None:
    bus = MemoryBus()
    deliveries = Deliveries("consumer", bus, 1)
    request = MESSAGE.model_copy(update={"max_attempts": 2, "reply_to": "answers"})
    failing = replace(_subscription(_raising(error)), topic=topics.inbox("consumer"))
    for _ in range(2):
        assert bus.events("answers") == []
        await deliveries.deliver(failing, request.to_cloudevent())
    [answer] = bus.events("answers")
    assert (answer["type"], answer["correlationid"], answer["data"]["type"]) == ("error", request.id, told)


async def test_what_could_not_be_begun_is_not_given_up_at_the_last_attempt() -> None:
    deliveries, _ = _deliveries()
    event = MESSAGE.model_copy(update={"max_attempts": 1}).to_cloudevent()
    assert await deliveries.deliver(_subscription(_raising(NotBegunError("not yet"))), event) == "RETRY"


async def test_nothing_is_given_up_as_long_as_the_reason_cannot_be_told() -> None:
    bus = MemoryBus()
    event = MESSAGE.model_copy(update={"max_attempts": 1}).to_cloudevent()
    deliveries, failing = Deliveries("consumer", bus, 1), _subscription(_raising(UnavailableError("away")))
    bus.available = False
    assert await deliveries.deliver(failing, event) == "RETRY"
    bus.available = True
    assert await deliveries.deliver(failing, event) == "DROP"


async def test_nothing_is_given_up_while_its_reason_cannot_be_told(caplog: pytest.LogCaptureFixture) -> None:
    bus = MemoryBus()
    bus.available = False
    deliveries = Deliveries("consumer", bus, 1)
    subscription = _subscription(_raising(Reject("no")))
    assert await deliveries.deliver(subscription, MESSAGE.to_cloudevent()) == "RETRY"
    assert "m1.consumer.failure.1 could not be told" in caplog.text
    bus.available = True
    assert await deliveries.deliver(subscription, MESSAGE.to_cloudevent()) == "DROP"
    assert [event["data"]["attempt"] for event in bus.events(topics.FAILURES)] == [2]


async def test_a_message_that_is_handled_after_failing_is_told_to_be() -> None:
    deliveries, reasons = _deliveries()
    event = MESSAGE.to_cloudevent()
    await deliveries.deliver(_subscription(_raising(UnavailableError("away"))), event)
    await deliveries.deliver(_subscription(_raising(None)), event)
    await deliveries.deliver(_subscription(_raising(None)), event)
    assert [(row["verdict"], row["attempt"], row["consumer"]) for row in reasons()] == [
        ("RETRY", 1, "consumer"),
        ("SUCCESS", 2, "consumer"),
    ]


async def test_what_is_no_message_is_kept_at_its_last_stop() -> None:
    deliveries, _ = _deliveries()
    taken: list[Message] = []

    async def handle(message: Message) -> None:
        taken.append(message)

    event: dict[str, JsonValue] = {"specversion": "1.0", "id": "odd", "time": "noon"}
    assert await deliveries.deliver(_subscription(handle, dead_letter=False, raw=True), event) == "SUCCESS"
    assert [(message.id, message.content) for message in taken] == [("odd", event)]
    assert "not a message" in taken[0].metadata[UNREADABLE]


async def test_events_without_an_id_are_told_apart() -> None:
    deliveries, reasons = _deliveries()
    for time in ("noon", "night"):
        await deliveries.deliver(_subscription(_raising(None)), {"specversion": "1.0", "time": time})
    assert len({row["message_id"] for row in reasons()}) == 2


async def test_the_reason_of_an_event_too_large_to_repeat_goes_without_it() -> None:
    class SmallBus(MemoryBus):
        async def publish(self, topic: str, message: Message) -> None:
            if "event" in cast("dict[str, Any]", message.content):
                raise TooLargeError("over the limit")
            await super().publish(topic, message)

    bus = SmallBus()
    event: dict[str, JsonValue] = {"specversion": "1.0", "id": "large", "time": "noon"}
    assert await Deliveries("consumer", bus, 1).deliver(_subscription(_raising(None)), event) == "DROP"
    (told,) = bus.events(topics.FAILURES)
    assert told["data"]["message_id"] == "large"
    assert "event" not in told["data"]


async def test_a_long_reason_is_kept_by_its_beginning_and_its_end() -> None:
    deliveries, reasons = _deliveries()
    error = Reject(f"begins {'x' * 1_000_000} ends")
    await deliveries.deliver(_subscription(_raising(error)), MESSAGE.to_cloudevent())
    (reason,) = reasons()
    for text in (reason["reason"], reason["traceback"]):
        assert len(text) < 25_000
        assert text.rstrip().endswith(" ends")
    assert reason["reason"].startswith("begins ")


async def test_no_more_handlers_run_at_once_than_the_limit() -> None:
    deliveries, _ = _deliveries(limit=3)
    running = most = 0
    go = asyncio.Event()

    async def handle(_: Message) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            go.set()
        await go.wait()
        running -= 1

    work = [deliveries.deliver(_subscription(handle), MESSAGE.to_cloudevent()) for _ in range(9)]
    assert await asyncio.wait_for(asyncio.gather(*work), 5) == ["SUCCESS"] * 9
    assert most == 3


async def test_news_that_a_handler_fails_at_is_gone_with_a_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    deliveries, reasons = _deliveries()
    subscription = Subscription("logs/info", _raising(UnavailableError("away")))
    assert await deliveries.deliver(subscription, MESSAGE.to_cloudevent()) == "SUCCESS"
    assert reasons() == []
    assert "logs/info m1: lost, since it is not delivered again: UnavailableError: away" in caplog.text


async def test_an_urgent_message_is_handled_while_all_other_handlers_are_busy() -> None:
    deliveries, _ = _deliveries(limit=2)
    go = asyncio.Event()

    async def handle(message: Message) -> None:
        if message.priority is Priority.NORMAL:
            await go.wait()

    normal, urgent = _subscription(handle).in_each_lane()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(deliveries.deliver(normal, MESSAGE.to_cloudevent())) for _ in range(5)]
        hurried = MESSAGE.model_copy(update={"priority": Priority.HIGH})
        assert await deliveries.deliver(urgent, hurried.to_cloudevent()) == "SUCCESS"
        assert not any(task.done() for task in waiting)
        go.set()
