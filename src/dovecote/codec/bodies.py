"""The body of an event: its data as bytes, which codec stages transform."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final

from pydantic_core import from_json, to_json

from dovecote.errors import InvalidInputError

Event = dict[str, Any]
"""A CloudEvents 1.0 event, as it is published."""
DATA_ENCODING: Final = "dataencoding"
"""The attribute that names what was done to the data, in order, separated by commas."""
DATA_REF: Final = "dataref"
"""The attribute that says where the data is kept, as CloudEvents' claim check extension has it."""
_BODY: Final = frozenset({"data", "data_base64", DATA_ENCODING, DATA_REF})
_TEXT: Final = "text/plain"
_BYTES: Final = "application/octet-stream"


def encodings_of(event: Event) -> list[str]:
    """What was done to the data of an event, in order."""
    return str(event.get(DATA_ENCODING) or "").split(",") if event.get(DATA_ENCODING) else []


def body_of(event: Event) -> bytes:
    """The data as bytes. Raises InvalidInputError for base64 that is none."""
    if "data_base64" in event:
        try:
            return base64.b64decode(event["data_base64"], validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise InvalidInputError(f"event {event.get('id')!r}: data_base64 is not base64: {error}") from error
    data = event.get("data")
    return data.encode() if _kind(event) == _TEXT and isinstance(data, str) else to_json(data)


def with_body(event: Event, body: bytes, encodings: Sequence[str]) -> Event:
    """The event with other data, to which was done what `encodings` names.

    Raises InvalidInputError where nothing was done to it and it is not what the event's `datacontenttype` says.
    """
    rest = {name: value for name, value in event.items() if name not in _BODY}
    if encodings:
        return {**rest, DATA_ENCODING: ",".join(encodings), "data_base64": base64.b64encode(body).decode()}
    if _kind(event) == _BYTES:
        return {**rest, "data_base64": base64.b64encode(body).decode()}
    try:
        return {**rest, "data": body.decode() if _kind(event) == _TEXT else from_json(body)}
    except ValueError as error:
        raise InvalidInputError(f"event {event.get('id')!r}: its data is not {_kind(event)}: {error}") from error


def _kind(event: Event) -> str:
    return str(event.get("datacontenttype") or "application/json")
