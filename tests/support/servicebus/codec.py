"""Messages as they are on the wire, and what the namespace must know of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from proton import Data, Message, int32, symbol, timestamp

from tests.support.servicebus.store import Locked, Posted

_DATA_SECTION = 0x75
# How an encoded message begins: a described type, with one of the numbers that sections have.
_ENCODED = tuple(bytes((0, 0x53, number)) for number in range(0x70, 0x79))


def posted(raw: bytes) -> list[Posted]:
    """Return the messages of one transfer, which may be a batch: an envelope around encoded messages."""
    inner = [data for data in _data_sections(raw) if data.startswith(_ENCODED)]
    return [_posted(one) for one in inner or [raw]]


def _posted(raw: bytes) -> Posted:
    message = Message()
    message.decode(raw)
    # A sender may leave the id out, and the sidecar's does: receivers are told one all the same.
    if message.id is None:
        message.id = uuid.uuid4().hex
        raw = message.encode()
    return Posted(raw, message.group_id or None, message.ttl or None)


def _data_sections(raw: bytes) -> Iterator[bytes]:
    offset = 0
    while offset < len(raw):
        section = Data()
        offset += section.decode(raw[offset:])
        section.rewind()
        if section.next() == Data.DESCRIBED:
            section.enter()
            section.next()
            if section.get_object() == _DATA_SECTION:
                section.next()
                yield bytes(section.get_binary())


def delivered(locked: Locked) -> bytes:
    """Return a locked message as a receiver gets it."""
    message = Message()
    message.decode(locked.body)
    message.delivery_count = locked.deliveries
    message.annotations = {
        **(message.annotations or {}),
        symbol("x-opt-sequence-number"): locked.sequence,
        symbol("x-opt-enqueued-time"): moment(locked.enqueued),
        symbol("x-opt-locked-until"): moment(locked.locked_until),
    }
    if locked.reason is not None:
        message.properties = {
            **(message.properties or {}),
            "DeadLetterReason": locked.reason,
            "DeadLetterErrorDescription": locked.description or "",
        }
    return bytes(message.encode())


def moment(seconds: float) -> Any:
    """Return a time, in seconds since 1970, as the wire has it."""
    return timestamp(round(seconds * 1000))


def decoded(raw: bytes) -> Any:
    """Return a request."""
    message = Message()
    message.decode(raw)
    return message


def answer(request: Any, status: int, description: str, body: Any = None) -> bytes:
    """Return the answer to a request; the status is one of HTTP's."""
    properties = {"status-code": int32(status), "status-description": description}
    return bytes(Message(correlation_id=request.id, properties=properties, body=body).encode())
