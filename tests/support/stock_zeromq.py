"""A client of the ZeroMQ broker on pyzmq alone: the frames are those that components/README.md shows."""

import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import zmq

_LIMIT: Final = 20_000  # milliseconds
_BEAT: Final = 1.0
_CREDIT: Final = struct.pack("!Q", 100)


class PyZmq:
    """Two sockets: one to publish, one for deliveries."""

    def __init__(self, spell: Callable[[str], str], env: Mapping[str, str]) -> None:
        self._spell = spell
        self._publishing = f"tcp://{env['ZEROMQ_HOST']}:{env['ZEROMQ_PORT']}"
        self._delivering = f"tcp://{env['ZEROMQ_HOST']}:{env['ZEROMQ_BACKEND_PORT']}"

    def publish(self, topic: str, payload: str | bytes) -> None:
        """Publish one message, and wait until it is taken."""
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.connect(self._publishing)
            request = uuid.uuid4().bytes
            data = payload.encode() if isinstance(payload, str) else payload
            socket.send_multipart([b"PUBLISH", request, self._spell(topic).encode(), b"{}", data])
            assert socket.poll(_LIMIT), "the broker does not answer"
            assert socket.recv_multipart() == [b"TAKEN", request, struct.pack("!Q", 1)]

    @contextmanager
    def listen(self, topic: str) -> Iterator[list[str]]:
        """What is published from now on, to a group of its own."""
        texts: list[str] = []
        heard, over = threading.Event(), threading.Event()
        thread = threading.Thread(target=self._read, args=(topic, texts, heard, over), daemon=True)
        thread.start()
        try:
            assert heard.wait(_LIMIT / 1000), f"the broker did not take a subscription to {topic}"
            yield texts
        finally:
            over.set()
            thread.join(_LIMIT / 1000)

    def _read(self, topic: str, texts: list[str], heard: threading.Event, over: threading.Event) -> None:
        subscribe = [b"SUBSCRIBE", self._spell(topic).encode(), uuid.uuid4().hex.encode(), _CREDIT]
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.connect(self._delivering)
            # To a beat of one that it does not know the broker answers; after that it knows this one.
            socket.send_multipart([b"BEAT", b""])
            beaten = time.monotonic()
            while not over.is_set():
                if time.monotonic() > beaten + _BEAT:
                    socket.send_multipart([b"BEAT", b""])
                    beaten = time.monotonic()
                if not socket.poll(50):
                    continue
                kind, *parts = socket.recv_multipart()
                if kind == b"UNKNOWN":
                    socket.send_multipart(subscribe)
                    heard.set()
                elif kind == b"DELIVER":
                    number, _topic, _metadata, data = parts
                    texts.append(data.decode())
                    socket.send_multipart([b"ACKNOWLEDGE", number])
            socket.send_multipart([b"LEAVE"])
