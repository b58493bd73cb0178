"""What is hidden from the broker, and with which key."""

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import from_json

from dovecote import App, Message, MessageType, topics
from dovecote.codec import Claims, Codec, Compression
from dovecote.codec.encryption import Encryption
from dovecote.errors import ConfigurationError, InvalidInputError, UnavailableError
from dovecote.ports import Subscription
from dovecote.settings import Settings
from dovecote.testing import MEMORY, MemoryCrypto, MemoryState, Network
from tests.support.messages import full_message

OLD, NEW = b"o" * 32, b"n" * 32
LIMIT = 100_000


async def _ignore(_: Message) -> None:
    """What it is given is looked at on the way."""


NEWS = Subscription("some/topic", _ignore)
GRAVE = Subscription(topics.DEAD_LETTERS, _ignore, dead_letter=False)


def _codec(key_id: str = "", state: MemoryState | None = None, **keys: bytes) -> Codec:
    kept = Claims(state or MemoryState(), limit=LIMIT, lifetime=1000)
    return Codec([Compression(1000, LIMIT), Encryption(MemoryCrypto(keys), key_id)], kept, claim_over=4000)


async def _sent(codec: Codec, message: Message) -> dict[str, Any]:
    event: dict[str, Any] = from_json(await codec.encode(MEMORY, "some/topic", message))
    return event


@pytest.mark.promise("AOS-16")
async def test_nothing_of_the_content_is_to_be_seen_on_the_way_and_it_arrives_as_it_was() -> None:
    message = full_message(content={"secret": "the word"})
    codec = _codec("new", new=NEW)
    event = await _sent(codec, message)
    assert "data" not in event
    assert b"the word" not in base64.b64decode(event["data_base64"])
    assert (event["dataencoding"], event["encryptionkeyid"]) == ("encrypted", "new")
    assert await codec.decode(NEWS, event) == message


@pytest.mark.promise("AOS-16")
async def test_what_was_encrypted_with_an_old_key_is_read_as_long_as_that_is_there() -> None:
    message = full_message()
    event = await _sent(_codec("old", old=OLD), message)
    assert await _codec("new", old=OLD, new=NEW).decode(NEWS, event) == message
    with pytest.raises(
        InvalidInputError, match="cannot be decrypted with key 'old': there is no key 'old'"
    ) as caught:
        await _codec("new", new=NEW).decode(NEWS, event)
    assert "keep an old key" in caught.value.mend


async def test_an_app_that_encrypts_nothing_reads_what_is_encrypted() -> None:
    message = full_message()
    assert await _codec(old=OLD).decode(NEWS, await _sent(_codec("old", old=OLD), message)) == message


@settings(derandomize=True, deadline=None, max_examples=100)
@given(place=st.floats(0, 1, exclude_max=True), other=st.integers(1, 255))
async def test_what_was_altered_is_not_decrypted(place: float, other: int) -> None:
    codec = _codec("new", new=NEW)
    event = await _sent(codec, full_message())
    body = bytearray(base64.b64decode(event["data_base64"]))
    body[int(place * len(body))] ^= other
    with pytest.raises(InvalidInputError, match="cannot be decrypted"):
        await codec.decode(NEWS, event | {"data_base64": base64.b64encode(body).decode()})


async def test_large_content_is_compressed_then_encrypted_and_kept_aside_encrypted() -> None:
    state = MemoryState()
    codec = _codec("new", state, new=NEW)
    message = Message(type=MessageType.EVENT, sender="ann", content="".join(f"line {n}\n" for n in range(5000)))
    event = await _sent(codec, message)
    assert event["dataencoding"] == "gzip,encrypted"
    [kept] = state.values().values()
    assert base64.b64decode(kept).startswith(b"new\n")
    assert await codec.decode(NEWS, event) == message


async def test_what_is_switched_off_does_not_look_at_the_content() -> None:
    event = {"id": "one", "data": object()}  # which no JSON can say
    assert await Compression(0, LIMIT).encode(event) is event
    assert await Encryption(MemoryCrypto({}), "").encode(event) is event


async def test_an_empty_text_needs_no_hiding() -> None:
    codec = _codec("new", new=NEW)
    message = Message(type=MessageType.EVENT, sender="ann", content="")
    assert await codec.decode(NEWS, await _sent(codec, message)) == message


async def test_a_dead_letter_whose_key_is_gone_stays_encrypted_and_can_be_handed_in_when_it_is_back() -> None:
    message = full_message()
    event = await _sent(_codec("old", old=OLD), message)
    dead = await _codec(new=NEW).decode(GRAVE, event)
    assert dead.content == event["data_base64"]
    assert await _codec(old=OLD).reopen(dead) == message


async def test_a_dead_letter_is_kept_while_the_keys_are_away_and_can_be_opened_later() -> None:
    class Away(MemoryCrypto):
        async def decrypt(self, data: bytes) -> bytes:
            raise UnavailableError(f"{len(data)} bytes wait for the key")

    message = full_message()
    codec = _codec("new", new=NEW)
    event = await _sent(codec, message)
    dead = await Codec([Encryption(Away({}), "")]).decode(GRAVE, event)
    assert dead.content == event["data_base64"]
    assert await codec.reopen(dead) == message


async def test_an_app_whose_key_is_missing_does_not_start_and_says_which() -> None:
    network = Network([App("ann")], settings=Settings(encryption_key="new"), keys={"old": OLD})
    with pytest.raises(
        ConfigurationError, match="nothing can be encrypted with key 'new': there is no key"
    ) as caught:
        await network.__aenter__()
    assert "component `crypto`" in str(caught.value)


async def test_apps_that_are_told_a_key_encrypt_all_that_they_publish() -> None:
    ann, bob, handled = App("ann"), App("bob"), list[Any]()

    @bob.subscribe("some/topic")
    async def take(message: Message) -> None:
        handled.append(message.content)

    async with Network([ann, bob], settings=Settings(encryption_key="new"), keys={"new": NEW, "old": OLD}) as net:
        await ann.bus.publish("some/topic", "in secret")
        await net.bus.settled()
        assert [event["encryptionkeyid"] for event in net.bus.events("some/topic")] == ["new"]
    assert handled == ["in secret"]
