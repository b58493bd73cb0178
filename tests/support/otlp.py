"""A receiver of spans: OTLP over HTTP, as far as sidecars speak it."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Self

from tests.support.ports import bound_socket

# Of the messages of opentelemetry-proto: the numbers of the fields that are read.
_RESOURCE_SPANS: Final = 1
_RESOURCE, _SCOPE_SPANS = 1, 2
_SPANS: Final = 2
_TRACE, _ID, _PARENT, _NAME = 1, 2, 4, 5
_FIXED: Final = {1: 8, 5: 4}  # bytes of a value, by its wire type


@dataclass(frozen=True)
class Span:
    """What a sidecar did: which one, what, and for which other span."""

    trace: str
    id: str
    parent: str
    service: str
    name: str


class SpanReceiver:
    """Keeps the spans that it is sent, while it is entered; `address` is host:port."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        kept = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                kept.extend(read_spans(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the base's name
                """Say nothing."""

        listening = bound_socket()
        self._server = ThreadingHTTPServer(listening.getsockname(), Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listening
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.address = f"127.0.0.1:{listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def read_spans(request: bytes) -> Iterator[Span]:
    """The spans of an ExportTraceServiceRequest."""
    for group in _values(request, _RESOURCE_SPANS):
        service = next((name for row in _values(group, _RESOURCE) for name in _service_names(row)), "")
        for scope in _values(group, _SCOPE_SPANS):
            for span in _values(scope, _SPANS):
                yield Span(
                    trace=_one(span, _TRACE).hex(),
                    id=_one(span, _ID).hex(),
                    parent=_one(span, _PARENT).hex(),
                    service=service,
                    name=_one(span, _NAME).decode(),
                )


def _service_names(resource: bytes) -> Iterator[str]:
    for attribute in _values(resource, 1):
        if _one(attribute, 1) == b"service.name":
            yield _one(_one(attribute, 2), 1).decode()


def _one(message: bytes, number: int) -> bytes:
    return next(_values(message, number), b"")


def _values(message: bytes, number: int) -> Iterator[bytes]:
    """Each value of a field that has a length."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key & 7 == 0:
            _, at = _varint(message, at)
            continue
        length = _FIXED.get(key & 7)
        if length is None:
            length, at = _varint(message, at)
        if key == number << 3 | 2:
            yield message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
