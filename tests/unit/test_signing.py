"""Who sent a message, and that it is as it was sent."""

import itertools
import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import from_json

from dovecote import App, Mailbox, Message, MessageType, Orchestrator, topics
from dovecote.codec import Codec
from dovecote.codec.keys import KeyRing, new_keys
from dovecote.codec.signing import Signing
from dovecote.errors import ConfigurationError, InvalidInputError, UnavailableError, UnverifiedError
from dovecote.messages import now
from dovecote.ports import Subscription
from dovecote.settings import Settings
from dovecote.testing import MEMORY, Clock, MemorySecrets, Network
from services.directory.main import app as directory
from services.recorder.main import app as recorder
from tests.support.messages import full_message
from tests.support.plans import Job, agent, asking

WINDOW = 100.0
PRIVATE, PUBLIC = new_keys(["ann", "bob", "lead", "directory", "recorder"], "1")
SECRETS = {f"SIGNING_KEY_{name.upper()}": key for name, key in PRIVATE.items()} | {"SIGNING_KEYS": PUBLIC}


async def _ignore(_: Message) -> None:
    """What it is given is looked at on the way."""


NEWS = Subscription("some/topic", _ignore)
GRAVE = Subscription(topics.DEAD_LETTERS, _ignore, dead_letter=False)


def _codec(
    app_id: str,
    secrets: dict[str, str] | MemorySecrets = SECRETS,
    *,
    at: datetime | None = None,
    ticks: Callable[[], float] = time.monotonic,
    **more: Any,
) -> Codec:
    stored = MemorySecrets(secrets) if isinstance(secrets, dict) else secrets
    keys = KeyRing(stored, app_id, private="SIGNING_KEY_{APP}", public="SIGNING_KEYS", clock=ticks)
    options: dict[str, Any] = {"require": True, "window": WINDOW, "clock": lambda: at or now(), **more}
    return Codec(app_id=app_id, signing=Signing(app_id, keys, **options))


ANN, BOB = _codec("ann"), _codec("bob")


async def _sent(codec: Codec, message: Message) -> dict[str, Any]:
    event: dict[str, Any] = from_json(await codec.encode(MEMORY, "some/topic", message))
    return event


def _message(content: Any = "news", **fields: Any) -> Message:
    return Message(type=MessageType.EVENT, content=content, **{"sender": "ann", **fields})


@pytest.mark.promise("AOS-17")
async def test_what_a_sender_signed_is_handled_as_it_was_sent() -> None:
    message = full_message(sender="ann")
    assert await BOB.decode(NEWS, await _sent(ANN, message)) == message


@settings(derandomize=True, deadline=None, max_examples=300)
@given(place=st.floats(0, 1, exclude_max=True), other=st.integers(1, 255))
async def test_a_message_altered_by_one_byte_is_refused(place: float, other: int) -> None:
    message = full_message(sender="ann", id="one")
    wire = bytearray(await ANN.encode(MEMORY, "some/topic", message))
    wire[int(place * len(wire))] ^= other
    try:
        event = from_json(bytes(wire))
    except ValueError:
        return  # no broker's component takes what is no JSON
    if not isinstance(event, dict) or "specversion" not in event:
        with pytest.raises(InvalidInputError):
            await BOB.decode(NEWS, event)
        return
    patient = _codec("bob", ticks=itertools.count(step=20).__next__)  # for whom no key may be a new one
    try:
        read = await patient.decode(NEWS, event)
    except InvalidInputError:
        return
    assert read == message, "what is handled is what was signed, or nothing is"


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    field=st.sampled_from(["content", "id", "recipient", "correlation_id", "reply_to", "order_key", "metadata"]),
    place=st.integers(0, 30),
    other=st.integers(1, 127),
)
async def test_any_other_letter_in_any_field_is_refused(field: str, place: int, other: int) -> None:
    text = "the text of a field that is signed"
    altered = text[:place] + chr(ord(text[place]) ^ other) + text[place + 1 :]

    def made(value: str) -> Message:
        fields: dict[str, Any] = {"id": "one", "timestamp": datetime.fromisoformat("2026-01-01T00:00:00+00:00")}
        return _message(**fields | {field: {"a": value} if field == "metadata" else value})

    event = await _sent(ANN, made(text))
    names = ("signature", "keyid", "signedat")
    forged = made(altered).to_cloudevent() | {name: event[name] for name in names}
    with pytest.raises(UnverifiedError, match="it was altered"):
        await BOB.decode(NEWS, forged)


@pytest.mark.parametrize("field", ["priority", "time", "ttl", "deadline", "type", "signedat", "keyid", "signature"])
async def test_no_attribute_can_be_taken_away(field: str) -> None:
    event = await _sent(ANN, full_message(sender="ann", type=MessageType.TASK))
    del event[field]
    with pytest.raises(UnverifiedError):
        await BOB.decode(NEWS, event)


async def test_a_signature_has_one_text_only() -> None:
    event = await _sent(ANN, _message())
    last = event["signature"][-3]
    other = next(letter for letter in "ABCDEFGH" if letter != last)
    with pytest.raises(UnverifiedError, match="altered"):
        await BOB.decode(NEWS, event | {"signature": event["signature"][:-3] + other + "=="})


async def test_numbers_may_change_their_spelling_on_the_way_but_not_their_value() -> None:
    event = await _sent(ANN, _message({"a": 2.0, "b": 1e21, "c": [0.1, -0.0]}))
    respelled = event | {"data": {"a": 2, "b": 10**21, "c": [0.1, 0]}}
    with pytest.raises(UnverifiedError):
        await BOB.decode(NEWS, respelled | {"data": {"a": 2, "b": 1e21, "c": [0.2, 0]}})
    assert (await BOB.decode(NEWS, respelled | {"data": {"a": 2, "b": 1e21, "c": [0.1, 0]}})).content


@pytest.mark.parametrize("content", [2**60, float("1e400"), {"a": [2**53 + 1]}])
async def test_a_number_that_json_cannot_carry_exactly_is_not_signed(content: Any) -> None:
    with pytest.raises(InvalidInputError, match="cannot be signed"):
        await _sent(ANN, _message(content))


async def test_a_message_signed_by_another_than_its_sender_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="'bob' cannot sign for another"):
        await _sent(BOB, _message(sender="ann"))
    pretending = Signing(
        "ann",
        KeyRing(MemorySecrets(SECRETS), "bob", private="SIGNING_KEY_{APP}", public="SIGNING_KEYS"),
        require=True,
        window=WINDOW,
    )
    message = _message(sender="ann")
    event = await pretending.encode(message.to_cloudevent(), message)
    with pytest.raises(UnverifiedError, match="is signed by 'bob', and says that it is from 'ann'"):
        await BOB.decode(NEWS, event)


@pytest.mark.parametrize("event", [{"question": "why?", "signature": "I"}, "text", _message().to_cloudevent()])
async def test_what_is_not_signed_is_refused_but_on_topics_that_are_said_to_take_it(event: Any) -> None:
    with pytest.raises(UnverifiedError, match="is not signed"):
        await BOB.decode(NEWS, event)
    open_to_all = _codec("bob", unsigned=["agent/query/ask", "some/#"])
    assert await open_to_all.decode(NEWS, event)
    with pytest.raises(UnverifiedError, match="is not signed"):
        await open_to_all.decode(Subscription("other/topic", _ignore), event)


async def test_a_signature_that_is_wrong_is_refused_where_none_would_do() -> None:
    open_to_all = _codec("bob", unsigned=["#"])
    event = await _sent(ANN, _message("news"))
    with pytest.raises(UnverifiedError, match="altered"):
        await open_to_all.decode(NEWS, event | {"data": "olds"})


@pytest.mark.parametrize(("later", "reason"), [(WINDOW + 1, "it is replayed"), (-61, "from now")])
async def test_a_message_is_refused_after_its_window_and_long_before_it(later: float, reason: str) -> None:
    event = await _sent(ANN, _message())
    with pytest.raises(UnverifiedError, match=reason):
        await _codec("bob", at=now() + timedelta(seconds=later)).decode(NEWS, event)
    for fine in (WINDOW - 5, -50):
        assert await _codec("bob", at=now() + timedelta(seconds=fine)).decode(NEWS, event)


async def test_an_app_that_only_signs_takes_what_is_not_signed() -> None:
    signs = _codec("ann", require=False)
    assert await signs.decode(NEWS, {"question": "why?"})
    assert await BOB.decode(NEWS, await _sent(signs, _message()))


@pytest.mark.parametrize("signed_at", ["yesterday", "2026-01-01T00:00:00"])
async def test_what_was_signed_at_no_time_is_refused(signed_at: str) -> None:
    class Signs(datetime):
        def isoformat(self, *_: Any) -> str:
            return signed_at

    event = await _sent(_codec("ann", at=Signs(2026, 1, 1)), _message())
    with pytest.raises(UnverifiedError, match="no time with a zone"):
        await BOB.decode(NEWS, event)


NEW_PRIVATE, NEW_PUBLIC = new_keys(["ann"], "2")
NEW_ANN = _codec("ann", {"SIGNING_KEY_ANN": NEW_PRIVATE["ann"]})


async def test_a_message_with_a_new_key_is_not_refused_before_the_set_was_read_after_it_came() -> None:
    secrets, time = dict(SECRETS), [0.0]
    bob = _codec("bob", secrets, ticks=lambda: time[0])
    old, new = await _sent(ANN, _message("old")), await _sent(NEW_ANN, _message("new"))
    assert await bob.decode(NEWS, old)
    time[0] = 9.0
    with pytest.raises(UnavailableError, match="key 'ann-2' was in no set of 'SIGNING_KEYS' 9 s ago"):
        await bob.decode(NEWS, new)
    time[0] = 11.0
    with pytest.raises(UnverifiedError, match="key 'ann-2', which no app is known by"):
        await bob.decode(NEWS, new)
    both = [*json.loads(PUBLIC)["keys"], *json.loads(NEW_PUBLIC)["keys"]]
    secrets["SIGNING_KEYS"] = json.dumps({"keys": both})
    time[0] = 22.0
    assert await bob.decode(NEWS, new)
    assert await bob.decode(NEWS, old)


async def test_a_key_that_was_taken_out_of_the_set_is_not_known_after_a_minute() -> None:
    secrets, time = dict(SECRETS), [0.0]
    bob = _codec("bob", secrets, ticks=lambda: time[0])
    old = await _sent(ANN, _message("old"))
    assert await bob.decode(NEWS, old)
    secrets["SIGNING_KEYS"] = NEW_PUBLIC
    time[0] = 61.0
    with pytest.raises(UnverifiedError, match="key 'ann-1', which no app is known by"):
        await bob.decode(NEWS, old)


async def test_while_the_secret_store_is_away_known_keys_are_known_and_others_may_be_new() -> None:
    class Store(MemorySecrets):
        away = False

        async def get(self, name: str) -> str:
            if self.away:
                raise UnavailableError("the store is away")
            return await super().get(name)

    store, time = Store(SECRETS), [0.0]
    bob = _codec("bob", store, ticks=lambda: time[0])
    old, new = await _sent(ANN, _message("old")), await _sent(NEW_ANN, _message("new"))
    assert await bob.decode(NEWS, old)
    store.away, time[0] = True, 61.0
    assert await bob.decode(NEWS, old)
    with pytest.raises(UnavailableError, match="the store is away"):
        await bob.decode(NEWS, new)


@pytest.mark.parametrize(
    ("secrets", "reason"),
    [
        ({}, "no secret 'SIGNING_KEY_ANN'"),
        ({"SIGNING_KEY_ANN": PRIVATE["ann"]}, "no secret 'SIGNING_KEYS'"),
        ({**SECRETS, "SIGNING_KEY_ANN": "secret word"}, "'SIGNING_KEY_ANN' does not hold what it must"),
        (
            {**SECRETS, "SIGNING_KEY_ANN": PRIVATE["bob"]},
            "key 'bob-1' of secret 'SIGNING_KEY_ANN' is not that of app",
        ),
        ({**SECRETS, "SIGNING_KEYS": '{"keys": []}'}, "key 'ann-1' of secret 'SIGNING_KEY_ANN' is not that of app"),
    ],
)
async def test_an_app_without_its_keys_does_not_start_and_says_which(secrets: dict[str, str], reason: str) -> None:
    network = Network([App("ann")], settings=Settings(signatures="require"), secrets=secrets)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        await network.__aenter__()
    assert "`dovecote keys`" in str(caught.value)
    assert "secret word" not in str(caught.value)


async def test_a_forged_message_is_a_dead_letter_with_its_reason_and_cannot_be_handed_in_again() -> None:
    ann, bob, handled = App("ann"), App("bob"), list[Message]()

    @bob.subscribe("some/topic")
    async def take(message: Message) -> None:
        handled.append(message)

    mine, forged = _message("mine"), _message("forged")
    async with Network([recorder, ann, bob], settings=Settings(signatures="require"), secrets=SECRETS) as net:
        await ann.running.ports.bus.publish("some/topic", mine)
        await net.bus.publish_event("some/topic", forged.to_cloudevent())
        await net.bus.settled()
        letter: Any = await net.invoke("recorder", f"deadletters/{forged.id}", verb="GET")
        assert [reason["error"] for reason in letter["reasons"]] == ["UnverifiedError"]
        assert "is not signed" in letter["reasons"][0]["reason"]
        await net.invoke("recorder", "deadletters/resubmit", {"id": forged.id})
        again: Any = await net.invoke("recorder", f"deadletters/{forged.id}", verb="GET")
        assert [reason["error"] for reason in again["reasons"]] == ["UnverifiedError"] * 2
    assert handled == [mine]


async def test_a_task_that_nobody_takes_is_a_dead_letter_where_all_must_be_signed() -> None:
    lead = Orchestrator("lead")
    lead.plan(Job)(asking())
    demands = Settings(signatures="require", accept_timeout=0.01)
    async with Network([directory, recorder, lead, agent("ann")], settings=demands, secrets=SECRETS) as net:
        await net.stop("ann")
        result = await net.ask({})
        await net.bus.settled()
        letter: Any = await net.invoke("recorder", f"deadletters/{result.task_id}.1", verb="GET")
        dead = Message.model_validate(letter["message"])
        assert await _codec("ann").reopen(dead) == dead.model_copy(update={"metadata": {}})
    assert result.error is not None
    assert result.error.type == "AgentUnavailableError"
    assert [(one["consumer"], one["error"]) for one in letter["reasons"]] == [("ann", "AgentUnavailableError")]


async def test_what_a_mailbox_gives_up_is_a_dead_letter_where_all_must_be_signed() -> None:
    ann, bob, clock = App("ann"), App("bob"), Clock()
    box = Mailbox(bob, clock=clock.now)
    async with Network([recorder, ann, bob], settings=Settings(signatures="require"), secrets=SECRETS) as net:
        refused, late = (await ann.bus.send("bob", "news"), await ann.bus.send("bob", "olds", ttl=60))
        await net.bus.settled()
        clock.advance(61)
        assert await box.get_messages() == [refused]
        await box.nack(refused.id, requeue=False, reason="no such account")
        await net.bus.settled()
        assert await _reasons(net, refused) == ["no such account"]
        assert ["expired" in reason for reason in await _reasons(net, late)] == [True]
        # The mailbox has no signature of what it was sent, and cannot sign for its sender.
        await net.invoke("recorder", "deadletters/resubmit", {"id": refused.id})
        assert ["is not signed" in reason for reason in await _reasons(net, refused)] == [False, True]
        stats = await box.stats()
    assert (stats.depth, stats.dead, stats.expired) == (0, 1, 1)


async def _reasons(net: Network, message: Message) -> list[str]:
    letter: Any = await net.invoke("recorder", f"deadletters/{message.id}", verb="GET")
    return [one["reason"] for one in letter["reasons"]]


async def test_a_dead_letter_keeps_the_signature_of_its_sender() -> None:
    event = await _sent(ANN, _message())
    dead = await _codec("recorder").decode(GRAVE, event)
    assert dead.content == "news"
    assert await BOB.reopen(dead) == _message(id=dead.id, timestamp=dead.timestamp)
    with pytest.raises(UnverifiedError, match="altered"):
        await BOB.reopen(dead.model_copy(update={"content": "olds"}))
