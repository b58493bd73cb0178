"""CloudEvents 1.0: structured JSON, and the headers of the binary mode (HTTP binding, section 3.1).

A message is an event already (`Message.to_cloudevent`); here also what an event of others says that a message has
no field for is kept, such as its own type, its data schema and other extension attributes.
"""

import base64
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, Self
from urllib.parse import quote, unquote

from pydantic import Field, JsonValue, model_validator
from pydantic_core import from_json

from dovecote.adapters.lossless import Foreign, Format, Json
from dovecote.errors import InvalidInputError
from dovecote.messages import Message

MEDIA_TYPE: Final = "application/cloudevents+json"
_PREFIX: Final = "ce-"
_NAME: Final = re.compile(r"[a-z0-9]+")
# What a header's value need not encode: printable ASCII but space, double quote and percent.
_PLAIN: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


class CloudEvent(Foreign):
    """An event; `priority` and `maxattempts` are Dovecote's, other extension attributes are kept as they are."""

    specversion: Literal["1.0"]
    id: str = Field(min_length=1)
    source: str
    type: str
    subject: str | None = None
    time: datetime | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    priority: int | None = None
    maxattempts: int | None = None
    data: JsonValue = None
    data_base64: str | None = None

    @model_validator(mode="after")
    def _well_formed(self) -> Self:
        if {"data", "data_base64"} <= self.model_fields_set:
            raise ValueError("give data or data_base64, not both")
        for name in self.model_extra or {}:
            if not _NAME.fullmatch(name):
                raise ValueError(f"attribute {name!r} is not of lower-case letters and digits")
        return self

    def to_binary(self) -> tuple[dict[str, str], bytes]:
        """Headers and body of the binary mode.

        Headers are texts, so an extension attribute that is none is read as one. InvalidInputError for
        `data_base64` that is not base64.
        """
        said = self.wire()
        data, encoded = said.pop("data", None), said.pop("data_base64", None)
        kind = said.pop("datacontenttype", None) or "application/json"
        headers = {f"{_PREFIX}{name}": _header(value) for name, value in said.items() if value is not None}
        headers["content-type"] = kind
        if encoded is not None:
            return headers, _decoded(encoded)
        if isinstance(data, str) and not _is_json(kind):
            return headers, data.encode()
        return headers, json.dumps(data, ensure_ascii=False).encode() if "data" in self.model_fields_set else b""

    @classmethod
    def from_binary(cls, headers: Mapping[str, str], body: bytes) -> Self:
        """The event of such a request; InvalidInputError, naming the attribute, if it does not fit.

        A body of a JSON type is read as JSON, of a type of text as text, and else it is `data_base64`.
        """
        named = {name.lower(): value for name, value in headers.items()}
        said: Json = {
            name.removeprefix(_PREFIX): _attribute(name, value)
            for name, value in named.items()
            if name.startswith(_PREFIX)
        }
        kind = named.get("content-type", "application/json")
        return cls.checked({**said, "datacontenttype": kind, **_data(kind, body)})


def _header(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return quote(text, safe=_PLAIN)


def _attribute(name: str, value: str) -> str:
    try:
        return unquote(value, errors="strict")
    except ValueError as error:
        raise InvalidInputError(f"{name}: {error}", mend="percent-encode UTF-8") from error


def _is_json(kind: str) -> bool:
    return kind.partition(";")[0].strip().lower().endswith(("/json", "+json"))


def _data(kind: str, body: bytes) -> dict[str, Any]:
    try:
        if _is_json(kind):
            return {"data": from_json(body, allow_inf_nan=False)} if body else {}
        if kind.lower().startswith("text/"):
            return {"data": body.decode()}
    except ValueError as error:
        raise InvalidInputError(f"data: not {kind}: {error}", mend="send the type that the body is of") from error
    return {"data_base64": base64.b64encode(body).decode()}


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise InvalidInputError(f"data_base64: {error}", mend="encode the bytes in base64") from error


def _fields(said: Json) -> Json:
    fields = Message.from_cloudevent(said).model_dump()
    return fields if said.get("time") else {name: value for name, value in fields.items() if name != "timestamp"}


_FORMAT: Final = Format("cloudevents", CloudEvent, _fields, Message.to_cloudevent)
to_message = _FORMAT.to_message
from_message = _FORMAT.from_message
