"""JSON-RPC 2.0 as messages."""

from typing import Any

import pytest

from dovecote import Message, MessageType
from dovecote.adapters import jsonrpc
from dovecote.errors import InvalidInputError


def test_a_method_is_a_command_and_its_id_a_correlation_id() -> None:
    message = jsonrpc.to_message('{"jsonrpc": "2.0", "method": "weigh", "params": {"what": "anvil"}, "id": 7}')
    assert (message.type, message.correlation_id) == (MessageType.COMMAND, "7")
    assert message.content == {"command": "weigh", "parameters": {"what": "anvil"}}
    assert jsonrpc.from_message(message).id == 7


def test_the_same_request_id_of_two_clients_is_two_messages() -> None:
    first, second = (jsonrpc.to_message({"jsonrpc": "2.0", "method": "weigh", "id": 1}) for _ in range(2))
    assert first.id != second.id


def test_a_reply_answers_the_request_by_its_id() -> None:
    request = jsonrpc.JsonRpc.checked({"jsonrpc": "2.0", "method": "weigh", "id": 7})
    message = jsonrpc.to_message(request)
    done = jsonrpc.answer(request, message.reply({"grams": 7500}, sender="scale"))
    assert (done.id, done.result) == (7, {"grams": 7500})
    failed = jsonrpc.answer(request, message.reply("broken", sender="scale", kind=MessageType.ERROR))
    assert failed.id == 7
    assert failed.error is not None
    assert (failed.error.code, failed.error.data) == (jsonrpc.INTERNAL_ERROR, "broken")


def test_what_wants_no_answer_gets_none() -> None:
    news = jsonrpc.JsonRpc.checked({"jsonrpc": "2.0", "method": "tick"})
    reply = Message(type=MessageType.RESPONSE, sender="a")
    with pytest.raises(InvalidInputError, match="'tick' has no id"):
        jsonrpc.answer(news, reply)
    request = jsonrpc.JsonRpc.checked({"jsonrpc": "2.0", "method": "tick", "id": None})
    with pytest.raises(InvalidInputError, match="a task is no answer"):
        jsonrpc.answer(request, Message(type=MessageType.TASK, sender="a"))


def test_a_batch_is_as_many_messages_and_comes_back() -> None:
    batch: list[dict[str, Any]] = [
        {"jsonrpc": "2.0", "method": "sum", "params": [1, 2], "id": "1"},
        {"jsonrpc": "2.0", "method": "tick"},
        {"jsonrpc": "2.0", "result": None, "id": "2"},
        {"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": None},
    ]
    messages = jsonrpc.to_messages(batch)
    assert [message.type.value for message in messages] == ["command", "notification", "response", "error"]
    assert [one.wire() for one in jsonrpc.from_messages(messages)] == batch
    assert len(jsonrpc.to_messages(batch[0])) == 1


@pytest.mark.parametrize(
    ("foreign", "fault"),
    [
        ({"method": "sum", "id": 1}, "jsonrpc: Field required"),
        ({"jsonrpc": "1.0", "method": "sum", "id": 1}, "jsonrpc: Input should be '2.0'"),
        ({"jsonrpc": "2.0", "id": 1}, "just one of method, result and error"),
        ({"jsonrpc": "2.0", "id": 1, "result": 1, "error": None}, "just one of method, result and error"),
        ({"jsonrpc": "2.0", "id": 1, "method": None}, "method is a text"),
        ({"jsonrpc": "2.0", "id": 1, "error": None}, "error is an object"),
        ({"jsonrpc": "2.0", "id": True, "method": "sum"}, "id.*: Input should be a valid"),
        ({"jsonrpc": "2.0", "id": 1, "method": "sum", "params": 7}, "params.*: Input should be a valid"),
        ({"jsonrpc": "2.0", "id": 1, "method": "sum", "params": None}, "params is an object or an array"),
        ({"jsonrpc": "2.0", "result": 1}, "id of the request is missing"),
        ({"jsonrpc": "2.0", "id": 1, "error": {"message": "no"}}, "error.code: Field required"),
        ([], "an empty batch"),
    ],
)
def test_what_the_specification_forbids_is_refused(foreign: Any, fault: str) -> None:
    with pytest.raises(InvalidInputError, match=fault) as refused:
        jsonrpc.to_messages(foreign)
    assert refused.value.mend
