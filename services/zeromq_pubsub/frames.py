"""What goes over the wire: multipart messages whose first frame says what they are.

A topic is a frame of its own and is compared as a whole, so none is the beginning of another.
"""

import struct
from collections.abc import Collection, Sequence
from typing import Final

from services.zeromq_pubsub.queues import Message

# Publisher to broker, with a request's number: PUBLISH number topic (metadata data)...; PING number.
PUBLISH: Final = b"PUBLISH"
PING: Final = b"PING"
# Broker to publisher: TAKEN number count.
TAKEN: Final = b"TAKEN"
# Member to broker: SUBSCRIBE topic group credit; ACKNOWLEDGE, REJECT, RELEASE delivery; BEAT deliveries; LEAVE.
SUBSCRIBE: Final = b"SUBSCRIBE"
ACKNOWLEDGE: Final = b"ACKNOWLEDGE"
REJECT: Final = b"REJECT"
RELEASE: Final = b"RELEASE"
BEAT: Final = b"BEAT"
LEAVE: Final = b"LEAVE"
# Broker to member: DELIVER delivery topic metadata data; UNKNOWN, which asks it to subscribe again.
DELIVER: Final = b"DELIVER"
UNKNOWN: Final = b"UNKNOWN"

BEAT_SECONDS: Final = 1.0

Frames = Sequence[bytes]


def pack(*numbers: int) -> bytes:
    """Numbers as one frame."""
    return struct.pack(f"!{len(numbers)}Q", *numbers)


def unpack(frame: bytes) -> tuple[int, ...]:
    """The numbers in a frame; struct.error if there are none such."""
    return struct.unpack(f"!{len(frame) // 8}Q", frame)


def number(frame: bytes) -> int:
    """The one number in a frame; ValueError if it has another count of them."""
    (value,) = unpack(frame)
    return value


def flatten(messages: Collection[Message]) -> list[bytes]:
    """Messages as frames, two each."""
    return [frame for message in messages for frame in (message.metadata, message.data)]


def gather(frames: Frames) -> list[Message]:
    """Messages from frames, two each; ValueError if one is missing."""
    return [Message(metadata, data) for metadata, data in zip(frames[::2], frames[1::2], strict=True)]
