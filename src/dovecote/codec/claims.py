"""Claim check: a body over the broker's limit is kept in a store, and its event carries where.

Enterprise Integration Patterns' claim check, with the attribute `dataref` of CloudEvents' extension of that name.
The store is one that all apps read: the state component `claims`, whose keys have no app-id.
"""

import asyncio
import base64
import hashlib
import math
import re
from typing import Final

from dovecote.codec.bodies import DATA_REF, Event, body_of, encodings_of, with_body
from dovecote.codec.compression import MEND
from dovecote.errors import InvalidInputError, TooLargeError
from dovecote.messages import Message, now
from dovecote.ports import State, Write

CHUNK: Final = 512 * 1024
"""Bytes of a body under one key: less than a megabyte as base64, which every store takes."""
_AT_ONCE: Final = 4  # chunks on their way to or from the store
_GRACE: Final = 3600  # seconds that a body outlives its message, to be read by who keeps expired ones
_REFERENCE: Final = re.compile(r"claims/([0-9a-f]{64})\?chunks=([0-9]{1,6})")


class Claims:
    """Bodies that are kept beside the broker, of `limit` bytes at most.

    A body lives as long as its message, or `lifetime` seconds if the message has neither `ttl` nor `deadline`.
    """

    def __init__(self, state: State, *, limit: int, lifetime: int) -> None:
        self._state = state
        self._limit = limit
        self._lifetime = lifetime

    async def encode(self, event: Event, topic: str, message: Message) -> Event:
        """The event without its body, which is in the store when this returns.

        Raises TooLargeError for a body over the limit. The same message again is kept under the same keys, unless
        it is encrypted: then its body is another one each time.
        """
        body = body_of(event)
        if len(body) > self._limit:
            raise TooLargeError(
                f"message {message.id!r} to {topic!r} has {len(body):,} bytes of content; "
                f"the claim check takes {self._limit:,}",
                mend=MEND,
            )
        name, ttl = _name(event, body), self._left(message)
        chunks = [body[start : start + CHUNK] for start in range(0, len(body), CHUNK)]
        for first in range(0, len(chunks), _AT_ONCE):
            writes = [
                Write(f"{name}-{number}", base64.b64encode(chunk).decode(), ttl=ttl)
                for number, chunk in enumerate(chunks[first : first + _AT_ONCE], first)
            ]
            await asyncio.gather(*map(self._state.write, writes))
        rest = {key: value for key, value in event.items() if key not in {"data", "data_base64"}}
        return {**rest, DATA_REF: f"claims/{name}?chunks={len(chunks)}"}

    async def decode(self, event: Event) -> Event:
        """The event with its body; InvalidInputError if that is no longer there, or is another."""
        claim = _REFERENCE.fullmatch(str(event.get(DATA_REF)))
        if claim is None:
            return event
        name, count = claim[1], int(claim[2])
        if (count - 1) * CHUNK > self._limit:
            raise TooLargeError(f"event {event.get('id')!r} has over {self._limit:,} bytes of content", mend=MEND)
        body = bytearray()
        for first in range(0, count, _AT_ONCE):
            keys = [f"{name}-{number}" for number in range(first, min(first + _AT_ONCE, count))]
            found = await self._state.get_many(keys)
            if len(found) < len(keys):
                raise InvalidInputError(
                    f"the body of event {event.get('id')!r} is no longer kept: {event[DATA_REF]!r} has expired",
                    mend="give the message a longer ttl, or raise DOVECOTE_CLAIM_TTL at its sender",
                )
            for key in keys:
                body += base64.b64decode(found[key].value)
        if _name(event, body) != name:
            raise InvalidInputError(f"the body of event {event.get('id')!r} is not the one that was sent")
        return with_body(event, bytes(body), encodings_of(event))

    def _left(self, message: Message) -> int:
        ends = [message.deadline] if message.deadline else []
        left = [(end - now()).total_seconds() for end in ends]
        if message.ttl is not None:
            left.append(message.ttl - (now() - message.timestamp).total_seconds())
        return math.ceil(max(min(left), 0)) + _GRACE if left else self._lifetime


def _name(event: Event, body: bytes | bytearray) -> str:
    """Where a body is kept, which is also what shows that it is this event's and whole."""
    known = hashlib.sha256(f"{event.get('source')}\n{event.get('id')}\n".encode())
    known.update(body)
    return known.hexdigest()
