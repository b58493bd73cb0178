"""What is done to a message between its sender and the wire, and undone."""

import base64
import gzip
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue
from pydantic_core import from_json

from dovecote import Message, MessageType, topics
from dovecote.codec import PLAIN, Claims, Codec, Compression
from dovecote.codec.claims import CHUNK
from dovecote.errors import InvalidInputError, TooLargeError, UnavailableError
from dovecote.messages import now
from dovecote.ports import Item, Subscription
from dovecote.testing import MEMORY, MemoryBus, MemoryState
from dovecote.testing.clock import Clock
from tests.support.messages import full_message

LIMIT = 3 * CHUNK
SMALL = MEMORY.model_copy(update={"max_message_bytes": 4000})


async def _ignore(_: Message) -> None:
    """What it is given is looked at on the way."""


NEWS = Subscription("some/topic", _ignore)
GRAVE = Subscription(topics.DEAD_LETTERS, _ignore, dead_letter=False)


def _message(content: Any = "news", **fields: Any) -> Message:
    return Message(type=MessageType.EVENT, sender="ann", content=content, **fields)


def _codec(claims: MemoryState | None = None, *, over: int = 0) -> Codec:
    kept = Claims(claims or MemoryState(), limit=LIMIT, lifetime=1000)
    return Codec([Compression(over, LIMIT)], kept)


async def _sent(codec: Codec, message: Message) -> dict[str, Any]:
    event: dict[str, Any] = from_json(await codec.encode(SMALL, "some/topic", message))
    return event


async def test_a_small_message_travels_as_it_is() -> None:
    message = full_message()
    event = await _sent(_codec(over=100_000), message)
    assert event == message.to_cloudevent()
    assert await PLAIN.decode(NEWS, event) == message


CONTENTS = st.one_of(
    st.text(st.characters(codec="utf-8")),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.text(st.characters(codec="utf-8"), max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    ),
)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(content=CONTENTS, repeated=st.sampled_from([1, 400]))
async def test_whatever_is_compressed_and_kept_aside_arrives_as_it_was(content: Any, repeated: int) -> None:
    codec = _codec(over=10)
    message = _message([content] * repeated)
    assert await codec.decode(NEWS, await _sent(codec, message)) == message


@settings(derandomize=True, deadline=None, max_examples=30)
@given(content=st.binary(max_size=6000))
async def test_bytes_that_are_compressed_or_kept_aside_arrive_as_they_were(content: bytes) -> None:
    codec = _codec(over=10)
    message = _message(base64.b64encode(content).decode(), encoding="base64")
    assert await codec.decode(NEWS, await _sent(codec, message)) == message


@pytest.mark.promise("AOS-15")
async def test_content_over_the_threshold_travels_as_gzip_and_arrives_as_it_was() -> None:
    codec, message = _codec(over=1000), _message({"text": "so it is. " * 5000})
    event = await _sent(codec, message)
    assert event["dataencoding"] == "gzip"
    assert "data" not in event
    assert from_json(gzip.decompress(base64.b64decode(event["data_base64"]))) == message.content
    assert await codec.decode(NEWS, event) == message


async def test_what_gzip_does_not_make_smaller_is_left_as_it_is() -> None:
    message = _message("0123456789abcdef")
    assert await _sent(_codec(over=1), message) == message.to_cloudevent()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("no base64!", "is not base64"),
        (base64.b64encode(b"no gzip").decode(), "is not gzip"),
        (base64.b64encode(gzip.compress(b'"x"')[:-9]).decode(), "cut off"),
        (base64.b64encode(gzip.compress(b"{")).decode(), "its data is not application/json"),
    ],
)
async def test_data_that_is_not_what_it_says_is_refused(data: str, reason: str) -> None:
    event = _message({}).to_cloudevent() | {"dataencoding": "gzip", "data_base64": data}
    with pytest.raises(InvalidInputError, match=reason):
        await _codec().decode(NEWS, event)


async def test_bytes_that_are_no_base64_are_refused_before_they_are_sent() -> None:
    with pytest.raises(InvalidInputError, match="is not base64"):
        await _sent(_codec(), _message("no base64!", encoding="base64"))


async def test_data_of_an_encoding_that_nobody_knows_is_refused_by_its_name() -> None:
    event = _message().to_cloudevent() | {"dataencoding": "gzip,zstd", "data_base64": "AA=="}
    with pytest.raises(InvalidInputError, match="unknown encoding 'zstd'"):
        await _codec().decode(NEWS, event)


async def test_a_small_body_that_unpacks_to_too_much_is_refused() -> None:
    bomb = base64.b64encode(gzip.compress(b" " * (LIMIT + 1))).decode()
    event = _message({}).to_cloudevent() | {"dataencoding": "gzip", "data_base64": bomb}
    with pytest.raises(TooLargeError, match=f"unpacks to more than {LIMIT:,} bytes"):
        await _codec().decode(NEWS, event)


@pytest.mark.parametrize("size", [4000, CHUNK - 2, CHUNK, CHUNK + 1, LIMIT])
async def test_content_over_the_brokers_limit_is_kept_aside_in_pieces_and_arrives_whole(size: int) -> None:
    state = MemoryState()
    codec, message = _codec(state), _message("".join(f"{n:09}\n" for n in range(size // 10 + 1))[:size])
    event = await _sent(codec, message)
    assert "data" not in event
    assert len(state.values()) == -(-size // CHUNK)
    assert max(len(row) for row in state.values().values()) <= 1 << 20
    assert await codec.decode(NEWS, event) == message


async def test_content_over_the_claim_checks_limit_is_refused_with_both_sizes() -> None:
    state = MemoryState()
    with pytest.raises(TooLargeError, match=f"has {LIMIT + 1:,} bytes of content; .* takes {LIMIT:,}") as caught:
        await _sent(_codec(state), _message("x" * (LIMIT + 1)))
    assert "DOVECOTE_MAX_BODY" in caught.value.mend
    assert state.values() == {}


async def test_a_message_whose_other_fields_are_too_large_is_refused() -> None:
    with pytest.raises(TooLargeError, match="memory takes 4,000"):
        await _sent(_codec(), _message("short", metadata={"long": "x" * 5000}))


async def test_a_message_that_is_sent_again_is_kept_once() -> None:
    state = MemoryState()
    codec, message = _codec(state), _message("x" * 5000)
    assert await _sent(codec, message) == await _sent(codec, message)
    assert len(state.values()) == 1


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [({}, 1000), ({"ttl": 50.0}, 50 + 3600), ({"deadline": 90.0}, 90 + 3600)],
)
async def test_content_is_kept_as_long_as_its_message_lives(fields: dict[str, Any], seconds: int) -> None:
    clock = Clock()
    codec = _codec(MemoryState(clock))
    if "deadline" in fields:
        fields = {"deadline": now() + timedelta(seconds=fields["deadline"])}
    event = await _sent(codec, _message("x" * 5000, **fields))
    clock.advance(seconds - 20)
    assert (await codec.decode(NEWS, event)).content
    clock.advance(40)
    with pytest.raises(InvalidInputError, match="is no longer kept") as caught:
        await codec.decode(NEWS, event)
    assert "DOVECOTE_CLAIM_TTL" in caught.value.mend


async def test_content_that_was_exchanged_in_the_store_is_refused() -> None:
    state = MemoryState()
    codec = _codec(state)
    mine, other = [await _sent(codec, _message(letter * 5000)) for letter in "ab"]
    with pytest.raises(InvalidInputError, match="not the one that was sent"):
        await codec.decode(NEWS, mine | {"dataref": other["dataref"]})


async def test_a_claim_of_more_than_may_be_is_refused_before_it_is_read() -> None:
    event = await _sent(_codec(), _message("x" * 5000))
    with pytest.raises(TooLargeError):
        await _codec().decode(NEWS, event | {"dataref": event["dataref"].replace("chunks=1", "chunks=999999")})


async def test_a_reference_that_is_not_ours_is_left_alone() -> None:
    event = _message().to_cloudevent() | {"dataref": "https://example.com/a"}
    assert (await _codec().decode(NEWS, event)).content == "news"
    assert (await _codec().reopen(await _codec().decode(GRAVE, event))).content == "news"


@pytest.mark.parametrize("name", ["dataref", "dataencoding", "signature", "datacontenttype"])
async def test_a_field_of_bare_json_is_no_attribute_of_an_event(name: str) -> None:
    content: dict[str, JsonValue] = {"question": "why?", name: "https://example.com/a"}
    assert (await _codec().decode(NEWS, content)).content == content
    assert (await _codec().reopen(await _codec().decode(GRAVE, content))).content == content


async def test_while_the_store_is_away_a_message_is_tried_again_and_not_refused() -> None:
    class Away(MemoryState):
        async def get_many(self, _: Any) -> dict[str, Item]:
            raise UnavailableError("the store is away")

    event = await _sent(_codec(), _message("x" * 5000))
    with pytest.raises(UnavailableError):
        await _codec(Away()).decode(NEWS, event)


async def test_a_dead_letter_leaves_its_body_where_it_is_and_can_be_handed_in_again() -> None:
    codec, message = _codec(over=100), _message("".join(map(str, range(9000))), metadata={"a": "b"})
    event = await _sent(codec, message)
    assert event["dataencoding"] == "gzip"
    dead = await codec.decode(GRAVE, event)
    assert (dead.id, dead.content) == (message.id, None)
    assert await codec.reopen(dead) == message


async def test_a_dead_letter_that_cannot_be_opened_is_kept_and_not_refused_again() -> None:
    event = _message({}).to_cloudevent() | {"dataencoding": "gzip", "data_base64": "AAAA"}
    dead = await _codec().decode(GRAVE, event)
    assert dead.content == "AAAA"
    with pytest.raises(InvalidInputError, match="is not gzip"):
        await _codec().reopen(dead)


FORGED = {
    "sealed:source": "eve",
    "sealed:dataref": f"claims/{'0' * 64}?chunks=1",
    "sealed:dataencoding": "gzip",
    "sealed:signature": "none",
}


async def test_what_anybody_may_set_in_metadata_does_not_change_how_a_message_travels() -> None:
    codec, message = _codec(over=100), _message("so it is. " * 1000, metadata=FORGED | {"a": "b"})
    event = await _sent(codec, message)
    assert (event["source"], event["dataencoding"]) == ("ann", "gzip")
    assert await codec.decode(NEWS, event) == message


async def test_what_anybody_may_set_in_metadata_is_not_what_a_dead_letter_is_opened_by() -> None:
    event = _message(metadata=FORGED | {"a": "b"}).to_cloudevent()
    dead = await _codec().decode(GRAVE, event)
    assert dead.metadata == {"a": "b"}
    signed = await _codec().decode(GRAVE, event | {"signature": "mine"})
    assert signed.metadata.keys() == {"a", "sealed:signature", "sealed:datacontenttype"}
    forged = signed.model_copy(update={"metadata": {**signed.metadata, "sealed:source": "eve"}})
    assert await _codec().reopen(forged) == await _codec().reopen(signed) == dead


async def test_a_dead_letter_that_was_only_compressed_can_be_read() -> None:
    codec, message = _codec(over=100), _message("so it is. " * 1000)
    assert await codec.decode(GRAVE, await _sent(codec, message)) == message


@pytest.mark.parametrize("event", [{"question": "why?"}, ["a"], "text", 7, None])
async def test_what_a_client_without_dovecote_says_is_not_touched(event: Any) -> None:
    assert (await _codec(over=1).decode(NEWS, event)).content == event


async def test_without_a_codec_a_large_message_is_refused() -> None:
    with pytest.raises(TooLargeError):
        await MemoryBus().publish("some/topic", _message("x" * 17_000_000))
