"""How messages reach their receivers."""

import asyncio
import base64
from typing import Any, Final

import pytest
from pydantic_core import to_json

from dovecote import Message, MessageType, Priority
from dovecote.errors import TooLargeError
from dovecote.messages import new_id
from tests.conformance.apps.receiver import HEAP, LARGEST, LOCAL_NEWS, NEWS, digest, document
from tests.conformance.fleet import LIMIT, Fleet, names
from tests.conformance.logbook import Hold
from tests.support.eventually import eventually
from tests.support.messages import full_message

DOCUMENT: Final = 20_000_000
WAITING: Final = 1000
HELD: Final = 3
KEYS: Final = 100  # and as many messages of each
AT_ONCE: Final = 50
"""Messages in a batch: a broker may refuse one that is larger than a message may be."""


def event(content: Any = "news", **fields: Any) -> Message:
    """An event with what a test needs."""
    return Message(type=MessageType.EVENT, sender="tests", content=content, **fields)


@pytest.mark.promise("ARG-18", "MQT-01", "AOS-21")
async def test_each_app_gets_each_message_at_one_of_its_replicas(fleet: Fleet) -> None:
    """Each app gets each message, at one of its replicas, and all replicas take part."""
    messages = [event(number) for number in range(60)]
    await fleet.publish(*messages)
    for app in ("alpha", "beta"):
        await fleet.handled(*messages, app=app)
        assert [len(fleet.log.attempts(message, app)) for message in messages] == [1] * 60
    took_part = {fleet.name_of(entry.replica) for message in messages for entry in fleet.log.attempts(message)}
    assert took_part == set(names("alpha"))


@pytest.mark.promise("ARG-01")
async def test_every_field_of_a_message_arrives_as_it_was(fleet: Fleet) -> None:
    """Every field of a message arrives as it was, Unicode included."""
    message = full_message()
    await fleet.publish(message)
    await fleet.handled(message)
    assert [entry.message for entry in fleet.log.handled(message)] == [message]


async def test_a_batch_arrives_whole(fleet: Fleet) -> None:
    """A batch arrives whole, at a subscription that takes batches as well."""
    messages = [event(number) for number in range(100)]
    await fleet.publish(*messages, topic=HEAP, batch=True)
    await fleet.handled(*messages)
    await fleet.handled(*messages, app="beta")
    assert await fleet.effects(*messages) == [1] * 100


@pytest.mark.promise("MQT-02")
async def test_the_same_message_twice_has_one_effect(fleet: Fleet) -> None:
    """A message that the broker delivers twice has its effect once."""
    message = event()
    await asyncio.gather(fleet.publish(message), fleet.publish(message))
    await fleet.again(message, 2)
    assert await fleet.effects(message) == [1]


async def test_bytes_arrive_as_they_were(fleet: Fleet) -> None:
    """Binary content arrives byte for byte, from a client without Dovecote too."""
    content = base64.b64encode(bytes(range(256)) * 4).decode()
    message = event(content, encoding="base64")
    foreign = event()
    await fleet.publish(message)
    await fleet.publish_event(
        {"specversion": "1.0", "id": foreign.id, "type": "photo", "source": "camera", "data_base64": content}
    )
    await fleet.handled(message, foreign)
    for sent in (message, foreign):
        [entry] = fleet.log.handled(sent)
        assert (entry.message.content, entry.message.encoding) == (content, "base64")


@pytest.mark.promise("MQT-01")
async def test_each_level_of_a_topic_is_a_topic_of_its_own(fleet: Fleet) -> None:
    """Each level of a topic is a topic of its own: what goes to one arrives neither above nor below it."""
    above, below = event(), event()
    await fleet.publish(above, topic=NEWS)
    await fleet.publish(below, topic=LOCAL_NEWS)
    await fleet.handled(above, below)
    assert [entry.topic for entry in fleet.log.handled(above)] == [NEWS]
    assert [entry.topic for entry in fleet.log.handled(below)] == [LOCAL_NEWS]


async def test_a_message_of_the_largest_size_arrives(fleet: Fleet) -> None:
    """A message as large as the broker takes arrives whole, on the broker alone."""
    message = _sized(fleet.broker.max_message_bytes)
    await fleet.publish(message)
    await fleet.handled(message)
    assert fleet.log.handled(message)[0].message == message


async def test_a_document_over_every_brokers_limit_arrives_whole(fleet: Fleet) -> None:
    """A document of 20 MB arrives whole, though no broker takes it: it is kept in the state store meanwhile."""
    message = event()
    await fleet.publish(message, document=DOCUMENT)
    whole = digest(document(DOCUMENT))
    for app in ("alpha", "beta"):
        await fleet.handled(message, app=app)
        assert fleet.log.handled(message, app)[0].message.content == whole


async def test_content_over_the_limit_is_refused(fleet: Fleet) -> None:
    """Content over DOVECOTE_MAX_BODY (64 MiB if it is not set) is refused before it is sent, with both sizes."""
    for batch in (False, True):
        with pytest.raises(TooLargeError, match=f"has {LARGEST + 1:,} bytes of content; .* takes {LARGEST:,}"):
            await fleet.publish(event(), batch=batch, document=LARGEST + 1)


def _sized(size: int) -> Message:
    """An event of so many bytes as it travels."""
    empty = event("")
    return empty.model_copy(update={"content": "x" * (size - len(to_json(empty.to_cloudevent())))})


async def test_messages_of_one_order_key_are_handled_in_order(fleet: Fleet, exception: str | None) -> None:
    """Messages of one order key are handled in order, one at a time; three replicas do so with 100 keys at once."""
    key = new_id()
    first, second = (event(number, order_key=key) for number in range(2))
    hold = fleet.log.hold(first)
    await fleet.publish(first, second)
    await hold.entry()
    if exception:
        await fleet.handled(second)
        hold.release()
        await fleet.handled(first)
        return
    assert not fleet.log.attempts(second)
    hold.release()
    await fleet.handled(second)
    keys = [new_id() for _ in range(KEYS)]
    messages = [event(number, order_key=key) for number in range(KEYS) for key in keys]
    for start in range(0, len(messages), AT_ONCE):
        await fleet.publish(*messages[start : start + AT_ONCE], batch=True)
    for start in range(0, len(messages), WAITING):
        await fleet.handled(*messages[start : start + WAITING])
    for key in keys:
        mine = [message for message in messages if message.order_key == key]
        handled = [fleet.log.handled(message)[0].at for message in mine]
        assert handled == sorted(handled)
        began = [fleet.log.attempts(message)[0].at for message in mine]
        assert all(later > done for done, later in zip(handled, began[1:], strict=False))
    took_part = {fleet.name_of(fleet.log.handled(message)[0].replica) for message in messages}
    assert took_part == set(names("alpha"))


@pytest.mark.promise("AOS-03")
@pytest.mark.parametrize("priority", [Priority.CRITICAL, Priority.HIGH], ids=str)
async def test_an_urgent_message_overtakes_those_that_wait(fleet: Fleet, priority: Priority) -> None:
    """An urgent message is handled before 1,000 others that wait, and these are handled all the same."""
    waiting = [event(number) for number in range(WAITING)]
    urgent = event("urgent", priority=priority)
    hold = await _held(fleet, waiting)
    await fleet.publish(urgent)
    await fleet.handled(urgent)
    hold.release()
    await fleet.handled(*waiting)
    assert await fleet.effects(urgent, *waiting) == [1] * (WAITING + 1)
    assert fleet.log.handled(urgent)[0].topic == NEWS


@pytest.mark.promise("AOS-03")
async def test_a_critical_message_overtakes_urgent_ones(fleet: Fleet, exception: str | None) -> None:
    """A CRITICAL message overtakes 1,000 of priority HIGH that wait, and these are handled all the same."""
    waiting = [event(number, priority=Priority.HIGH) for number in range(WAITING)]
    critical = event("critical", priority=Priority.CRITICAL)
    hold = await _held(fleet, waiting)
    await fleet.publish(critical)
    still = [message for message in waiting if not fleet.log.attempts(message)]
    hold.release()
    await fleet.handled(critical, *waiting)
    overtook = sum(fleet.log.attempts(one)[0].at > fleet.log.attempts(critical)[0].at for one in still)
    # Where the broker goes by age, an app overtakes what it holds, and other replicas may be slower.
    assert (overtook >= len(still) * 0.95) == (exception is None), f"it overtook {overtook} of {len(still)}"


@pytest.mark.promise("AOS-03")
async def test_background_messages_are_not_starved(fleet: Fleet) -> None:
    """A BACKGROUND message is handled while others of any priority keep coming."""
    background = event("background", priority=Priority.BACKGROUND)
    hold = await _held(fleet, [event(number) for number in range(WAITING // 3)])
    await fleet.publish(background)
    hold.release()
    above = [priority for priority in Priority if priority < background.priority]
    async with asyncio.timeout(LIMIT):
        while not fleet.log.handled(background):
            await fleet.publish(*(event("flood", priority=priority) for priority in above * 5))


async def _held(fleet: Fleet, waiting: list[Message]) -> Hold:
    """Messages that wait, since those that came first hold the handlers."""
    hold = fleet.log.hold(*waiting, step="before")
    for start in range(0, len(waiting), AT_ONCE):
        await fleet.publish(*waiting[start : start + AT_ONCE], batch=True)
    await eventually(
        lambda: sum(bool(fleet.log.attempts(message)) for message in waiting) >= HELD,
        f"{HELD} held handlers",
        LIMIT,
    )
    return hold
