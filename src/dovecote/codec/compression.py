"""Compression: bodies over a threshold travel as gzip (RFC 1952)."""

import asyncio
import gzip
import zlib
from typing import Final

from dovecote.codec.bodies import Event, body_of, encodings_of, with_body
from dovecote.errors import InvalidInputError, TooLargeError

GZIP: Final = "gzip"
_WINDOW: Final = 31  # of zlib: the largest, in a gzip envelope


class Compression:
    """Compresses bodies of more than `over` bytes, none if it is 0; refuses what unpacks to more than `limit`."""

    def __init__(self, over: int, limit: int) -> None:
        self._over = over
        self._limit = limit

    async def check(self) -> None:
        """Nothing is lacking."""

    async def encode(self, event: Event) -> Event:
        """The event with a compressed body, where that is smaller."""
        if not self._over:
            return event
        body = body_of(event)
        if len(body) <= self._over:
            return event
        packed = await asyncio.to_thread(gzip.compress, body, 6, mtime=0)
        return with_body(event, packed, [*encodings_of(event), GZIP]) if len(packed) < len(body) else event

    async def decode(self, event: Event) -> Event:
        """The event as it was; InvalidInputError if it is no gzip, TooLargeError if it unpacks to too much."""
        if encodings_of(event)[-1:] != [GZIP]:
            return event
        body = await asyncio.to_thread(self._unpacked, str(event.get("id")), body_of(event))
        return with_body(event, body, encodings_of(event)[:-1])

    def _unpacked(self, event_id: str, packed: bytes) -> bytes:
        unpacking = zlib.decompressobj(_WINDOW)
        try:
            body = unpacking.decompress(packed, self._limit + 1)
        except zlib.error as error:
            raise InvalidInputError(f"event {event_id!r}: its data is not gzip: {error}") from error
        if len(body) > self._limit:
            raise TooLargeError(f"event {event_id!r} unpacks to more than {self._limit:,} bytes", mend=MEND)
        if not unpacking.eof:
            raise InvalidInputError(f"event {event_id!r}: its data is gzip that was cut off")
        return body


MEND: Final = "send it in parts, or raise DOVECOTE_MAX_BODY at sender and receivers"
"""What helps where a body is over the limit."""
