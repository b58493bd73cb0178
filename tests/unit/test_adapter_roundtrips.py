"""Nothing is lost between messages and the formats of others, and what does not fit is refused by one error."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dovecote import Message, MessageType, topics
from dovecote.adapters import acs, aos, argentic, cloudevents, jsonrpc
from dovecote.adapters.lossless import Foreign
from dovecote.errors import InvalidInputError
from tests.support.generated import JSON, MESSAGES, OBJECTS, TEXT, TIMES

UNKNOWN = st.dictionaries(TEXT.map(lambda text: f"x{text}"), JSON, max_size=2)
ISO = TIMES.map(lambda time: time.isoformat()) | TIMES.map(lambda time: time.replace(tzinfo=None).isoformat())
# Also one that says again what the message says, and one that says it in another form.
EXTENSIONS = st.fixed_dictionaries(
    {},
    optional={
        "dovecote": st.fixed_dictionaries({"order_key": TEXT | st.none()})
        | st.fixed_dictionaries({"priority": st.sampled_from([2, "2", 4]), "deadline": ISO}),
    },
)


def _objects(*parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def joined(rows: tuple[dict[str, Any], ...]) -> dict[str, Any]:
        return {key: value for row in rows for key, value in row.items()}

    return st.tuples(*parts).map(joined)


AOS = _objects(
    UNKNOWN,
    st.fixed_dictionaries(
        {
            "message_id": TEXT.filter(bool),
            "message_type": st.sampled_from([kind.value for kind in MessageType]),
            "sender_id": TEXT,
            "timestamp": ISO,
        },
        optional={
            "recipient_id": st.none() | TEXT,
            "content": OBJECTS | st.fixed_dictionaries({"value": JSON}),
            "priority": st.integers(0, 4),
            "metadata": _objects(OBJECTS, EXTENSIONS),
            "correlation_id": st.none() | TEXT,
            "reply_to": st.none() | TEXT,
            "ttl": st.none() | st.integers(1, 10**6),
        },
    ),
)
ACS = _objects(
    UNKNOWN,
    st.fixed_dictionaries(
        {
            "from_agent": TEXT,
            "message_type": st.sampled_from([kind.value for kind in acs.MessageType]),
            "timestamp": ISO,
            "content": _objects(
                OBJECTS,
                EXTENSIONS,
                st.fixed_dictionaries({}, optional={"task_id": JSON, "deadline": JSON | ISO, "value": JSON}),
            ),
        },
        optional={
            "message_id": TEXT.filter(bool),
            "to_agent": st.none() | TEXT,
            "priority": st.sampled_from([priority.value for priority in acs.MessagePriority]),
        },
    ),
)
_SEGMENT = st.text("abcXYZ09_-", min_size=1, max_size=8)
PAYLOADS = _objects(
    UNKNOWN,
    st.fixed_dictionaries({"question": TEXT, "name": TEXT.filter(bool), "message": TEXT, "arguments": OBJECTS}),
    EXTENSIONS,
    st.fixed_dictionaries(
        {},
        optional={
            "message_id": TEXT.filter(bool),
            "source": st.none() | TEXT,
            "timestamp": st.none() | st.floats(0, 10**9) | st.integers(0, 10**9) | ISO,
            "id": TEXT | st.integers(),
            "task_id": st.none() | TEXT,
            "result": JSON,
            "error": JSON,
            "value": JSON,
        },
    ),
)
TOPICS = st.tuples(st.sampled_from([*argentic.TREE]), _SEGMENT).map(lambda pair: pair[0].replace("+", pair[1]))
ARGENTIC = _objects(UNKNOWN, st.fixed_dictionaries({"topic": TOPICS, "payload": PAYLOADS}))
_ATTRIBUTES = st.dictionaries(
    st.text("abcdefghijklmnop0123456789", min_size=1, max_size=12).map(lambda name: f"x{name}"),
    TEXT,
    max_size=3,
)
CLOUD_EVENTS = _objects(
    _ATTRIBUTES,
    st.fixed_dictionaries(
        {"specversion": st.just("1.0"), "id": TEXT.filter(bool), "source": TEXT, "type": TEXT},
        optional={
            "subject": TEXT,
            "time": TIMES.map(lambda time: time.isoformat()),
            "dataschema": TEXT,
            "datacontenttype": st.sampled_from(["application/json", "text/plain", "application/xml"]),
        },
    ),
    st.fixed_dictionaries({}, optional={"data": JSON})
    | st.fixed_dictionaries({"data_base64": st.just("AP8="), "datacontenttype": st.just("image/png")}),
)
_IDS = TEXT | st.integers() | st.none()
JSONRPC = _objects(
    UNKNOWN,
    EXTENSIONS,
    st.fixed_dictionaries({"jsonrpc": st.just("2.0")}),
    st.fixed_dictionaries(
        {"method": TEXT | st.sampled_from([kind.value for kind in MessageType])},
        optional={"id": _IDS, "params": OBJECTS | st.lists(JSON, max_size=3)},
    )
    | st.fixed_dictionaries({"id": _IDS, "result": JSON})
    | st.fixed_dictionaries(
        {
            "id": _IDS,
            "error": st.fixed_dictionaries({"code": st.integers(), "message": TEXT}, optional={"data": JSON}),
        }
    ),
)


@dataclass(frozen=True)
class Adapter:
    """An adapter, and what makes up messages of its format."""

    model: type[Foreign]
    to_message: Callable[[Any], Message]
    from_message: Callable[[Message], Foreign]
    foreign: st.SearchStrategy[dict[str, Any]]


ADAPTERS = {
    "argentic": Adapter(argentic.ArgenticMessage, argentic.to_message, argentic.from_message, ARGENTIC),
    "aos": Adapter(aos.AosMessage, aos.to_message, aos.from_message, AOS),
    "acs": Adapter(acs.AgentMessage, acs.to_message, acs.from_message, ACS),
    "cloudevents": Adapter(cloudevents.CloudEvent, cloudevents.to_message, cloudevents.from_message, CLOUD_EVENTS),
    "jsonrpc": Adapter(jsonrpc.JsonRpc, jsonrpc.to_message, jsonrpc.from_message, JSONRPC),
}
each_adapter = pytest.mark.parametrize("name", [*ADAPTERS])


def _text(value: Any) -> str:
    """JSON text: 1, 1.0 and true are the same in Python, and not here."""
    return json.dumps(value, sort_keys=True)


@each_adapter
@given(data=st.data())
def test_a_foreign_message_is_the_same_after_its_way_as_a_message(name: str, data: st.DataObject) -> None:
    adapter = ADAPTERS[name]
    foreign = adapter.model.checked(data.draw(adapter.foreign))
    message = adapter.to_message(foreign)
    arrived = Message.from_cloudevent(json.loads(json.dumps(message.to_cloudevent())))
    assert arrived == message
    again = adapter.from_message(arrived)
    assert again == foreign
    assert _text(again.wire()) == _text(foreign.wire())


@each_adapter
@given(message=MESSAGES)
def test_a_message_is_the_same_after_its_way_as_a_foreign_one(name: str, message: Message) -> None:
    adapter = ADAPTERS[name]
    foreign = adapter.from_message(message)
    assert adapter.to_message(foreign.to_json()) == message


@each_adapter
@given(message=MESSAGES, content=OBJECTS)
def test_objects_and_bytes_are_content_of_every_format(name: str, message: Message, content: Any) -> None:
    adapter = ADAPTERS[name]
    for changed in ({"content": content}, {"content": "AP8=", "encoding": "base64"}):
        sent = message.model_copy(update=changed)
        assert adapter.to_message(adapter.from_message(sent).wire()) == sent


@each_adapter
@given(data=st.data())
def test_what_is_changed_in_a_message_that_came_from_elsewhere_goes_back(name: str, data: st.DataObject) -> None:
    adapter = ADAPTERS[name]
    message = adapter.to_message(data.draw(adapter.foreign))
    fields = {"order_key": "another", "deadline": data.draw(TIMES), "type": MessageType.COMMAND, "priority": 0}
    changed = Message.model_validate({**message.model_dump(), **fields})
    back = adapter.to_message(adapter.from_message(changed)).model_dump()
    assert {name: back[name] for name in fields} == fields


@each_adapter
@given(data=st.data())
def test_a_reply_says_nothing_of_the_message_that_it_answers(name: str, data: st.DataObject) -> None:
    adapter = ADAPTERS[name]
    reply = adapter.to_message(data.draw(adapter.foreign)).reply({"answer": 42}, sender="researcher")
    assert adapter.to_message(adapter.from_message(reply)) == reply


@each_adapter
@settings(max_examples=100)
@given(foreign=JSON | OBJECTS | st.binary(max_size=50) | st.text(max_size=50))
def test_whatever_comes_is_a_message_or_invalid_input(name: str, foreign: Any) -> None:
    adapter = ADAPTERS[name]
    with contextlib.suppress(InvalidInputError):
        adapter.to_message(foreign)
    with contextlib.suppress(InvalidInputError):
        adapter.model.from_json(json.dumps(foreign) if not isinstance(foreign, bytes) else foreign)


@each_adapter
@settings(max_examples=100)
@given(data=st.data(), value=JSON | st.just("dovecote"))
def test_a_foreign_message_with_one_wrong_value_is_a_message_or_invalid_input(
    name: str, data: st.DataObject, value: Any
) -> None:
    adapter = ADAPTERS[name]
    foreign = data.draw(adapter.foreign)
    spoiled = foreign | {data.draw(st.sampled_from(sorted(foreign))): value}
    with contextlib.suppress(InvalidInputError):
        checked = adapter.model.checked(spoiled)
        assert _text(adapter.from_message(adapter.to_message(checked)).wire()) == _text(checked.wire())


@each_adapter
@given(message=MESSAGES, text=st.text() | JSON.map(json.dumps), change=OBJECTS)
def test_what_is_written_into_an_adapters_own_metadata_is_data_or_invalid_input(
    name: str, message: Message, text: str, change: dict[str, Any]
) -> None:
    adapter = ADAPTERS[name]
    for forged in (text, json.dumps({"id": message.id, "plain": {"set": change, "unset": ["topic"]}})):
        sent = message.model_copy(update={"metadata": {f"adapters.{name}": forged}})
        with contextlib.suppress(InvalidInputError):
            adapter.to_message(adapter.from_message(sent))


@each_adapter
@pytest.mark.parametrize(
    "foreign",
    [
        b"\xff\x00",
        "",
        "{",
        "[" * 100_000,
        '{"a":' * 1000,
        '{"a": "\\ud800"}',
        "NaN",
        '{"a": 1e999}',
        "9" * 5000,
        {"a": float("nan")},
        {"a": object()},
        {"\ud800": 1},
        None,
        [],
    ],
    ids=str,
)
def test_what_is_no_json_object_is_refused(name: str, foreign: Any) -> None:
    adapter = ADAPTERS[name]
    with pytest.raises(InvalidInputError) as refused:
        adapter.to_message(foreign)
    assert refused.value.mend


def test_an_extension_that_claims_metadata_of_the_adapters_own_is_refused() -> None:
    foreign = {
        "jsonrpc": "2.0",
        "method": "weigh",
        "dovecote": {"metadata": {"adapters.jsonrpc": "x"}},
    }
    with pytest.raises(InvalidInputError, match=r"'adapters\.jsonrpc' is a key of the adapter's own"):
        jsonrpc.to_message(foreign)


@pytest.mark.parametrize("extension", [{}, "text", None, {"colour": "blue"}, {"order_key": "k", "colour": "blue"}])
def test_an_extension_that_is_none_of_ours_is_refused(extension: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"content\.dovecote: this is no object of fields that a message"):
        acs.to_message({"from_agent": "a", "message_type": "heartbeat", "content": {"dovecote": extension}})


def test_topics_of_the_tree_are_those_of_the_library() -> None:
    assert {topics.QUERY_ASK, topics.QUERY_RESPONSE, topics.AGENT_STATUS, topics.TOOL_REGISTRATIONS} < {
        *argentic.TREE
    }
