"""The message, and its CloudEvents form."""

import contextlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from cloudevents.http import from_http
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dovecote import Message, MessageType, Priority
from dovecote.errors import InvalidInputError
from dovecote.messages import NAMELESS, id_of, read_payload
from tests.support.generated import JSON, MESSAGES, TEXT
from tests.support.messages import full_message


@given(MESSAGES)
def test_a_message_is_the_same_after_its_journey_as_a_cloud_event(message: Message) -> None:
    wire = json.dumps(message.to_cloudevent())
    assert Message.from_cloudevent(json.loads(wire)) == message


def test_a_full_message_of_the_tests_has_every_field_but_the_encoding_set() -> None:
    message, least = full_message(), Message(type=MessageType.TASK, sender="")
    left = {name for name in Message.model_fields if getattr(message, name) == getattr(least, name)}
    assert left == Message.model_fields.keys() - message.model_fields_set == {"encoding"}


@given(st.dictionaries(TEXT | st.sampled_from([*Message.model_fields, "source", "data", "time"]), JSON, max_size=8))
def test_whatever_comes_as_an_event_is_a_message_or_invalid_input(event: dict[str, Any]) -> None:
    event["specversion"] = "1.0"
    with contextlib.suppress(InvalidInputError):
        assert Message.from_cloudevent(event).id == event["id"]


@given(JSON)
def test_any_json_that_is_no_cloud_event_is_content(content: Any) -> None:
    message = Message.from_cloudevent(content, default_type=MessageType.QUERY)
    assert (message.type, message.sender, message.content) == (MessageType.QUERY, "", content)
    assert Message.from_cloudevent(json.loads(json.dumps(content))).id == message.id


def test_the_id_of_plain_json_follows_from_its_content() -> None:
    first, same = (Message.from_cloudevent({"id": "a", "question": "why?"}) for _ in range(2))
    other = Message.from_cloudevent({"id": "a", "question": "why not?"})
    assert first.id == same.id != other.id
    assert first.id.startswith(NAMELESS)


@given(JSON)
def test_what_is_refused_has_the_id_that_it_would_have_as_a_message(content: Any) -> None:
    bare: dict[str, Any] = {"id": "a", "question": content}
    assert id_of(content) == Message.from_cloudevent(content).id
    assert id_of(bare) == Message.from_cloudevent(bare).id
    assert id_of(bare | {"specversion": "1.0"}) == "a"


@pytest.mark.parametrize(
    ("payload", "content"),
    [
        (b'{"question": "why?"}', {"question": "why?"}),
        (b"17", 17),
        ("Wie heißt das?".encode(), "Wie heißt das?"),
        (b"", ""),
        (b'{"half": ', '{"half": '),
    ],
)
def test_whatever_is_published_can_be_read(payload: bytes, content: Any) -> None:
    assert read_payload(payload) == content


def test_bytes_that_are_no_text_are_a_message_of_bytes() -> None:
    first, same = (Message.from_cloudevent(read_payload(b"\xff\x00")) for _ in range(2))
    assert (first.content, first.encoding, first.sender) == ("/wA=", "base64", "")
    assert first.id == same.id


def _full() -> Message:
    return Message(
        type=MessageType.TASK,
        sender="orchestrator",
        recipient="researcher",
        content={"question": "Why?"},
        conversation_id="task-1",
        ttl=30,
        deadline=datetime(2030, 1, 1, tzinfo=UTC),
        metadata={"docs": "guide"},
    )


def test_another_cloud_events_reader_understands_our_events() -> None:
    message = _full()
    body = json.dumps(message.to_cloudevent()).encode()
    event = from_http({"content-type": "application/cloudevents+json"}, body)
    assert (event["id"], event["source"], event["type"]) == (message.id, "orchestrator", "task")
    assert event["subject"] == "researcher"
    assert datetime.fromisoformat(event["time"]) == message.timestamp
    assert event["conversationid"] == "task-1"
    assert event.data == {"question": "Why?"}


def test_attribute_names_are_those_that_cloud_events_allows() -> None:
    for name in _full().to_cloudevent():
        assert name.isalnum()
        assert name.islower()
        assert len(name) <= 20


def test_an_event_of_a_foreign_type_gets_the_default_type_and_keeps_its_data() -> None:
    event = {"specversion": "1.0", "id": "1", "source": "shop", "type": "order.placed", "data": {"a": 1}}
    message = Message.from_cloudevent(event, default_type=MessageType.QUERY)
    assert (message.type, message.sender, message.content) == (MessageType.QUERY, "shop", {"a": 1})
    assert message.priority is Priority.NORMAL


@pytest.mark.parametrize(("data", "content"), [('{"a": 1}', {"a": 1}), ("what?", "what?")])
def test_data_handed_over_as_text_is_read_where_it_is_the_json_that_it_says(data: str, content: Any) -> None:
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "a",
        "type": "b",
        "datacontenttype": "application/json",
        "data": data,
    }
    assert Message.from_cloudevent(event).content == content


@pytest.mark.parametrize("attribute", ["priority", "ttl", "deadline", "metadata", "time"])
def test_a_wrong_attribute_is_named(attribute: str) -> None:
    event = {"specversion": "1.0", "id": "7", "source": "a", "type": "task", attribute: "rubbish"}
    with pytest.raises(InvalidInputError, match="event '7' is not a message"):
        Message.from_cloudevent(event)


def test_numbers_that_a_broker_made_texts_are_read() -> None:
    event = {"specversion": "1.0", "id": "7", "source": "a", "type": "task", "priority": "1", "ttl": "2.5"}
    message = Message.from_cloudevent(event)
    assert (message.priority, message.ttl) == (Priority.HIGH, 2.5)


def test_a_message_does_not_change() -> None:
    message = _full()
    for field in Message.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(message, field, None)


def test_the_reply_to_a_message_is_the_same_reply_every_time() -> None:
    task = _full()
    first, second = (task.reply("because", sender="researcher") for _ in range(2))
    assert first.id == second.id == f"{task.id}.reply"
    assert (first.recipient, first.correlation_id, first.conversation_id) == ("orchestrator", task.id, "task-1")
    assert first.metadata == task.metadata


NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "expired"),
    [
        ({}, False),
        ({"ttl": 60}, False),
        ({"ttl": 59}, True),
        ({"deadline": NOW}, False),
        ({"deadline": NOW - timedelta(seconds=1)}, True),
        ({"deadline": NOW.astimezone(timezone(timedelta(hours=2))) + timedelta(seconds=1)}, False),
        ({"ttl": 3600, "deadline": NOW - timedelta(seconds=1)}, True),
        ({"deadline": (NOW - timedelta(seconds=1)).replace(tzinfo=None)}, True),
    ],
)
def test_a_message_expires_after_its_time_to_live_or_its_deadline(fields: dict[str, Any], expired: bool) -> None:
    message = Message(type=MessageType.EVENT, sender="a", timestamp=NOW - timedelta(seconds=60), **fields)
    assert message.expired(NOW) is expired


def test_a_time_without_a_zone_is_utc() -> None:
    message = Message(type=MessageType.EVENT, sender="a", timestamp=NOW.replace(tzinfo=None))
    assert message.timestamp == NOW


def test_priorities_are_served_from_critical_to_background() -> None:
    assert [kind.name for kind in sorted(Priority)] == ["CRITICAL", "HIGH", "NORMAL", "LOW", "BACKGROUND"]


def test_bytes_travel_as_an_events_binary_data() -> None:
    message = Message(type=MessageType.EVENT, sender="camera", content="AP8=", encoding="base64")
    event = message.to_cloudevent()
    assert (event["data_base64"], event["datacontenttype"]) == ("AP8=", "application/octet-stream")
    assert "data" not in event
    assert Message.from_cloudevent(json.loads(json.dumps(event))) == message


def test_content_that_is_said_to_be_bytes_must_be_text() -> None:
    with pytest.raises(ValidationError, match="content of encoding 'base64' is text, not dict"):
        Message(type=MessageType.EVENT, sender="camera", content={}, encoding="base64")
    with pytest.raises(InvalidInputError, match="is not a message"):
        Message.from_cloudevent({"specversion": "1.0", "id": "x", "source": "camera", "data_base64": 17})
