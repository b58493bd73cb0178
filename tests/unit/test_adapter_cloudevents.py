"""Events of others, in structured and in binary mode."""

import contextlib
import json
from typing import Any

import pytest
from cloudevents.conversion import to_binary
from cloudevents.http import CloudEvent as LibraryEvent
from cloudevents.http import from_http
from hypothesis import given
from hypothesis import strategies as st

from dovecote import Message, MessageType
from dovecote.adapters import cloudevents
from dovecote.adapters.cloudevents import CloudEvent
from dovecote.errors import InvalidInputError
from tests.support.generated import MESSAGES, TEXT
from tests.support.messages import full_message

EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "/shop",
    "type": "order.placed",
    "dataschema": "https://example.org/order.json",
    "tenant": "north",
    "data": {"sum": 12.5},
}


def test_what_an_event_says_that_a_message_does_not_comes_back() -> None:
    message = cloudevents.to_message(EVENT)
    assert (message.type, message.sender, message.content) == (MessageType.EVENT, "/shop", {"sum": 12.5})
    assert cloudevents.from_message(message).wire() == EVENT


def test_a_message_is_the_event_that_it_is_sent_as() -> None:
    message = full_message()
    event, sent = cloudevents.from_message(message).wire(), message.to_cloudevent()
    times = ("time", "deadline")
    assert {name: event[name] for name in event if name not in times} == {
        name: sent[name] for name in sent if name not in times
    }
    assert cloudevents.to_message(event) == message


@given(message=MESSAGES, encoded=st.booleans())
def test_a_message_is_the_same_after_its_way_in_headers(message: Message, encoded: bool) -> None:
    if encoded:
        message = message.model_copy(update={"content": "AP8=", "encoding": "base64"})
    headers, body = cloudevents.from_message(message).to_binary()
    assert all(0x20 < ord(letter) < 0x7F for name in headers for letter in headers[name] if name != "content-type")
    assert cloudevents.to_message(CloudEvent.from_binary(headers, body)) == message


@given(attributes=st.dictionaries(st.text("abcxyz019", min_size=1).map(lambda name: f"x{name}"), TEXT, max_size=3))
def test_attributes_of_any_text_are_headers(attributes: dict[str, str]) -> None:
    event = CloudEvent.checked({**EVENT, **attributes, "datacontenttype": "application/json"})
    headers, body = event.to_binary()
    assert CloudEvent.from_binary({name.upper(): value for name, value in headers.items()}, body) == event


def test_another_reader_understands_the_headers() -> None:
    headers, body = CloudEvent.checked(EVENT).to_binary()
    event = from_http(headers, body)
    assert (event["type"], event["tenant"], event.data) == ("order.placed", "north", {"sum": 12.5})


def test_the_headers_of_another_writer_are_understood() -> None:
    attributes = {"type": "order.placed", "source": "/shop", "id": "1"}
    headers, body = to_binary(LibraryEvent(attributes, {"sum": 12.5}), json.dumps)
    message = cloudevents.to_message(CloudEvent.from_binary(headers, body))
    assert (message.id, message.sender, message.content) == ("1", "/shop", {"sum": 12.5})


@pytest.mark.parametrize(
    ("kind", "body", "data"),
    [
        ("application/json", b'{"a": 1}', {"a": 1}),
        ("application/vnd.order+json; charset=utf-8", b"[1]", [1]),
        ("text/plain", "naïve".encode(), "naïve"),
        ("application/protobuf", b"\x0a\x01\xff", "CgH/"),
        ("application/octet-stream", b"", ""),
        ("application/json", b"", None),
    ],
)
def test_a_body_is_what_its_type_says(kind: str, body: bytes, data: Any) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "a", "ce-type": "b", "Content-Type": kind}
    event = CloudEvent.from_binary(headers, body)
    assert cloudevents.to_message(event).content == data
    assert event.to_binary() == ({name.lower(): value for name, value in headers.items()}, body)


@pytest.mark.parametrize(
    ("headers", "body", "fault"),
    [
        ({"ce-id": "1"}, b"", "specversion: Field required"),
        ({"ce-id": "%ff"}, b"", "ce-id: "),
        ({"ce-id": "1"}, b"{", "data: not application/json"),
        ({"ce-id": "1", "content-type": "text/plain"}, b"\xff", "data: not text/plain"),
    ],
)
def test_headers_that_do_not_fit_name_the_attribute(headers: dict[str, str], body: bytes, fault: str) -> None:
    with pytest.raises(InvalidInputError, match=fault) as refused:
        CloudEvent.from_binary(headers, body)
    assert refused.value.mend


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"specversion": "0.3"}, "specversion: "),
        ({"id": ""}, "id: "),
        ({"data_base64": "AP8="}, "give data or data_base64, not both"),
        ({"Tenant": "x"}, "attribute 'Tenant' is not of lower-case letters and digits"),
        ({"metadata": "{"}, "event '1' is not a message"),
    ],
)
def test_an_event_that_breaks_the_specification_is_refused(fields: dict[str, Any], fault: str) -> None:
    with pytest.raises(InvalidInputError, match=fault):
        cloudevents.to_message({**EVENT, **fields})


def test_binary_data_that_is_no_base64_is_refused() -> None:
    event = CloudEvent.checked({"specversion": "1.0", "id": "1", "source": "a", "type": "b", "data_base64": "?"})
    with pytest.raises(InvalidInputError, match="data_base64: "):
        event.to_binary()


@given(headers=st.dictionaries(st.text().map(lambda name: f"ce-{name}"), st.text()), body=st.binary())
def test_whatever_headers_come_are_an_event_or_invalid_input(headers: dict[str, str], body: bytes) -> None:
    known = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "a", "ce-type": "b"}
    for sent in (headers, headers | known):
        with contextlib.suppress(InvalidInputError):
            cloudevents.to_message(CloudEvent.from_binary(sent, body))
