"""What the recorder keeps of dead letters: in whatever order it is told, and while its store is away."""

import asyncio
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
from pydantic_core import to_json

from dovecote import DeliveryMode, MessageType, Reject, topics
from dovecote.delivery import failure_of, handled_after
from dovecote.errors import InvalidInputError, TooLargeError, UnavailableError
from dovecote.ports import State, Write
from services.recorder.main import app as recorder
from tests.support.office import TOPIC, Office, letter

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _come(office: Office, names: tuple[str, ...]) -> None:
    """What happens to a message, told in that order, each twice, and then all once more."""
    message = letter(id="m")
    told = {
        "letter": (topics.DEAD_LETTERS, message),
        "ann": (
            topics.FAILURES,
            failure_of("m", TOPIC, "ann", UnavailableError("away"), attempt=9, verdict="RETRY"),
        ),
        "bob": (
            topics.FAILURES,
            failure_of("m", TOPIC, "bob", UnavailableError("away"), attempt=1, verdict="RETRY"),
        ),
        "bob handled": (topics.FAILURES, handled_after("m", TOPIC, "bob", 1)),
    }
    for name in [*(name for name in names for _ in range(2)), *names]:
        await office.net.bus.publish(*told[name])
        await office.net.bus.settled()


@pytest.mark.parametrize("names", [*permutations(["letter", "ann", "bob", "bob handled"])])
async def test_message_and_reasons_may_come_in_any_order_and_again(office: Office, names: tuple[str, ...]) -> None:
    await _come(office, names)
    assert [(row.consumer, row.attempts) for row in await office.ls()] == [("ann", 1)]
    assert (await office.show(letter(id="m"))).consumers["bob"].state == "handled"


@pytest.mark.parametrize("names", [*permutations(["letter", "bob", "bob handled"])])
async def test_a_letter_is_not_closed_by_a_consumer_that_did_not_give_it_up(
    office: Office, names: tuple[str, ...]
) -> None:
    await _come(office, names)
    assert [(row.consumer, row.attempts) for row in await office.ls()] == [("unknown", 0)]
    row = await office.act("resubmit", letter(id="m"), consumer="ann", topic=TOPIC)
    assert (row.consumer, row.state) == ("ann", "handled")
    assert await office.ls() == []


async def test_what_is_told_again_is_not_written_again(office: Office) -> None:
    told = failure_of("m", TOPIC, "ann", UnavailableError("away"), attempt=1, verdict="RETRY")
    etags = set()
    for _ in range(2):
        await office.net.bus.publish(topics.FAILURES, told)
        await office.net.bus.settled()
        item = await office.net.state("recorder").get("deadletter:m")
        assert item is not None
        etags.add(item.etag)
    assert len(etags) == 1


async def test_of_many_reasons_the_last_keep_their_tracebacks(office: Office) -> None:
    error = UnavailableError("away")
    reasons = [failure_of("m", TOPIC, "ann", error, attempt=one, verdict="RETRY") for one in range(1, 16)]
    for told in [*reasons, *reasons]:
        await office.net.bus.publish(topics.FAILURES, told)
        await office.net.bus.settled()
    kept = (await office.show(letter(id="m"))).reasons
    assert [reason.attempt for reason in kept] == list(range(1, 16))
    assert [bool(reason.traceback) for reason in kept] == [False] * 5 + [True] * 10


class CountingState:
    """A state store that counts the keys that are read."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.read = 0

    async def get(self, key: str) -> Any:
        self.read += 1
        return await self._state.get(key)

    async def get_many(self, keys: list[str]) -> Any:
        self.read += len(keys)
        return await self._state.get_many(keys)

    async def write(self, *writes: Write) -> None:
        await self._state.write(*writes)


async def test_a_listing_costs_the_same_after_many_letters_were_handled(office: Office) -> None:
    messages = [letter(id=f"m{number}") for number in range(330)]
    office.ann.errors.update({message.id: [Reject("no")] for message in messages})
    await office.net.bus.publish_batch(TOPIC, messages)
    await office.net.bus.settled()
    assert len(await office.ls("?limit=100")) == 100
    await asyncio.gather(*(office.act("discard", message) for message in messages))
    last = await office.send(letter(), ann=[Reject("no")])
    running = recorder.state.dovecote.running
    counting = running.ports.state = CountingState(running.ports.state)
    assert [row.id for row in await office.ls()] == [last.id]
    assert counting.read <= 33  # the head, the last page, and the letters in it; not those that were handled


class FailingState(CountingState):
    """A state store that is away for a while."""

    def __init__(self, state: State, times: int, fits: Callable[[Write], bool] = lambda _: True) -> None:
        super().__init__(state)
        self.times = times
        self._fits = fits

    async def write(self, *writes: Write) -> None:
        if self.times and all(map(self._fits, writes)):
            self.times -= 1
            raise UnavailableError("the store is away")
        await super().write(*writes)


class SmallState(CountingState):
    """A state store that takes only so many bytes at once."""

    async def write(self, *writes: Write) -> None:
        if any(len(to_json(write.value)) > 20_000 for write in writes):
            raise TooLargeError("that is too much")
        await super().write(*writes)


@pytest.mark.parametrize("event", [False, True])
async def test_a_letter_that_is_too_large_for_the_store_is_kept_without_its_content(
    office: Office, *, event: bool
) -> None:
    running = recorder.state.dovecote.running
    running.ports.state = SmallState(running.ports.state)
    message = letter("x" * 30_000, type=MessageType.TASK, id="large")
    odd = {**message.to_cloudevent(), "time": "noon"}
    office.ann.errors[message.id] = [Reject("no")]
    await office.net.bus.publish_event(TOPIC, odd if event else message.to_cloudevent())
    await office.net.bus.settled()
    kept = await office.show(message)
    assert kept.left_out == "that is too much"
    assert kept.message == (None if event else message.model_copy(update={"content": None}))
    assert [reason.traceback for reason in kept.reasons if reason.consumer == "ann"] == [""]
    assert ("large", "ann") in [(row.id, row.consumer) for row in await office.ls()]
    with pytest.raises(InvalidInputError, match="no message" if event else "without its content: that is too much"):
        await office.act("resubmit", message, consumer="ann")
    assert (await office.act("discard", message, consumer="ann")).state == "discarded"


async def test_what_was_numbered_for_nothing_leaves_the_index_when_it_is_listed(office: Office) -> None:
    def numbers(write: Write) -> bool:
        return isinstance(write.value, dict) and write.value.get("number") is not None

    running = recorder.state.dovecote.running
    state = running.ports.state = FailingState(running.ports.state, times=2, fits=numbers)
    message = await office.send(letter(), ann=[Reject("no")])
    assert not state.times
    assert [row.id for row in await office.ls()] == [message.id]
    page = office.net.state("recorder").values()["index:deadletters:0"]
    assert (page["count"], len(page["ids"])) == (3, 1)
    assert [row.id for row in await office.ls()] == [message.id]


async def test_letters_of_one_idempotency_key_are_all_kept(office: Office) -> None:
    fields: dict[str, Any] = {"delivery": DeliveryMode.EXACTLY_ONCE, "idempotency_key": "order 7"}
    sent = [await office.send(letter(**fields), ann=[Reject("no")]) for _ in range(2)]
    assert {row.id for row in await office.ls()} == {message.id for message in sent}
    assert [(await office.show(message)).message for message in sent] == sent


async def test_a_letter_that_was_to_be_delivered_at_most_once_waits_for_the_store(office: Office) -> None:
    running = recorder.state.dovecote.running
    running.ports.state = FailingState(running.ports.state, times=3)
    message = letter(delivery=DeliveryMode.AT_MOST_ONCE)
    await office.net.bus.publish(topics.DEAD_LETTERS, message)
    await office.net.bus.settled()
    assert (await office.show(message)).message == message


async def test_a_letter_waits_until_the_store_takes_it(office: Office) -> None:
    running = recorder.state.dovecote.running
    running.ports.state = FailingState(running.ports.state, times=3)
    message = await office.send(letter(), ann=[Reject("no")])
    assert [(row.id, row.reason) for row in await office.ls()] == [(message.id, "no")]
    assert (await office.show(message)).message == message
