"""The codec: what is done to a message between its sender and the wire, and undone before it is handled.

In this order: signed, compressed, encrypted, kept in the state store where it is over the broker's limit. Buses
call `Codec.encode` before they publish, deliveries `Codec.decode` before they handle; handlers know nothing of it.
"""

from dovecote.codec.assembly import codec_of
from dovecote.codec.bodies import Event
from dovecote.codec.claims import Claims
from dovecote.codec.compression import Compression
from dovecote.codec.pipeline import PLAIN, Codec

__all__ = ["PLAIN", "Claims", "Codec", "Compression", "Event", "codec_of"]
