"""JSON-RPC 2.0 (jsonrpc.org/specification): requests, notifications, responses, errors and batches of them.

A method is a command: `{"command": method, "parameters": params}`, except that a method called as a type of message
is a message of that type, with the parameters as its content. A result is the content of a response, an error that
of an error. The id of a request is unique for its client only: it is the message's correlation id, not its id. What
JSON-RPC has no member for is in the member `dovecote`.
"""

from collections.abc import Iterable
from typing import Any, Final, Literal, Self

from pydantic import JsonValue, StrictFloat, StrictInt, StrictStr, model_validator

from dovecote.adapters.lossless import Foreign, Format, Json, read_json
from dovecote.errors import InvalidInputError
from dovecote.messages import Message, MessageType

INTERNAL_ERROR: Final = -32603
_ASKED: Final = (MessageType.TASK, MessageType.QUERY, MessageType.COMMAND)
_ANSWERED: Final = (MessageType.RESPONSE, MessageType.ERROR)
_METHODS: Final = {kind.value: kind for kind in MessageType if kind not in _ANSWERED}


class JsonRpcError(Foreign):
    """What went wrong; `code` is one of the specification's, from -32700 to -32600, or one of the method's own."""

    code: StrictInt
    message: StrictStr
    data: JsonValue = None


class JsonRpc(Foreign):
    """A request (`method` and `id`), a notification (`method`), a response (`result`) or an error (`error`)."""

    jsonrpc: Literal["2.0"]
    id: StrictStr | StrictInt | StrictFloat | None = None
    method: StrictStr | None = None
    params: dict[str, JsonValue] | list[JsonValue] | None = None
    result: JsonValue = None
    error: JsonRpcError | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        said = self.model_fields_set
        if len(said & {"method", "result", "error"}) != 1:
            raise ValueError("give just one of method, result and error")
        if "method" in said and self.method is None:
            raise ValueError("method is a text")
        if "error" in said and self.error is None:
            raise ValueError("error is an object of code and message")
        if "params" in said and (self.params is None or self.method is None):
            raise ValueError("params is an object or an array, beside a method")
        if "method" not in said and "id" not in said:
            raise ValueError("id of the request is missing, which is null if it is not known")
        return self


def to_messages(batch: str | bytes | list[Any] | Json) -> list[Message]:
    """The messages of a batch, or of one alone; InvalidInputError for an empty batch, or one that does not fit."""
    value = read_json(batch)
    if not isinstance(value, list):
        return [to_message(value)]
    if not value:
        raise InvalidInputError("an empty batch is no JSON-RPC", mend="put at least one request into it")
    return [to_message(one) for one in value]


def from_messages(messages: Iterable[Message]) -> list[JsonRpc]:
    """The batch of some messages."""
    return [from_message(message) for message in messages]


def answer(request: JsonRpc, reply: Message) -> JsonRpc:
    """A message that answers the one made of a request, as JSON-RPC's answer to that request.

    Raises InvalidInputError for a notification, which has no answer, and for a message that is none.
    """
    if "id" not in request.model_fields_set or request.method is None:
        raise InvalidInputError(f"{request.method!r} has no id: it wants no answer", mend="answer requests only")
    if reply.type not in _ANSWERED:
        raise InvalidInputError(f"a {reply.type.value} is no answer", mend="give a response or an error")
    return JsonRpc.checked({**from_message(reply).wire(), "id": request.id})


def _fields(said: Json) -> Json:
    about: Json = {"sender": "", "correlation_id": _text(said.get("id"))}
    if "result" in said:
        return {**about, "type": MessageType.RESPONSE, "content": said["result"]}
    if "error" in said:
        return {**about, "type": MessageType.ERROR, "content": said["error"]}
    method, params = said["method"], said.get("params")
    if method in _METHODS:
        return {**about, "type": _METHODS[method], "content": params}
    kind = MessageType.COMMAND if "id" in said else MessageType.NOTIFICATION
    return {**about, "type": kind, "content": {"command": method, "parameters": params}}


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _spell(message: Message) -> Json:
    said: Json = {"jsonrpc": "2.0"}
    if message.type is MessageType.RESPONSE:
        return {**said, "id": message.correlation_id, "result": message.content}
    if message.type is MessageType.ERROR:
        return {**said, "id": message.correlation_id, "error": _error(message.content)}
    if message.type in _ASKED:
        said["id"] = message.correlation_id or message.id
    method, params = _method(message)
    return {**said, "method": method} | ({} if params is None else {"params": params})


def _method(message: Message) -> tuple[str, JsonValue]:
    match message.content:
        case {"command": str(name), "parameters": dict() | list() | None as params}:
            return name, params
        case dict() | list() | None as params:
            return message.type.value, params
        case value:
            return message.type.value, [value]


def _error(content: JsonValue) -> JsonValue:
    match content:
        case {"code": int(code), "message": str()} if not isinstance(code, bool):
            return content
        case {"message": str(text)}:
            return {"code": INTERNAL_ERROR, "message": text, "data": content}
        case _:
            return {"code": INTERNAL_ERROR, "message": "the request failed", "data": content}


_FORMAT: Final = Format("jsonrpc", JsonRpc, _fields, _spell)
to_message = _FORMAT.to_message
from_message = _FORMAT.from_message
