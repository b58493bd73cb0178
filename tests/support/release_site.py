"""A download site for release archives on the loopback, which can be told to serve them wrongly."""

import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from deploy.local.archive import release_artifacts
from deploy.local.versions import CLI, DAPR
from tests.support.fake_dapr import FLAVOUR_MARK, fake_program

PORTS = range(28400, 28500)
Answer = Callable[[BaseHTTPRequestHandler], None]


def archive_of(name: str, content: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A tar.gz with one member."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.type = len(content), 0o755, kind
        member.linkname = "/etc/passwd" if kind == tarfile.SYMTYPE else ""
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


class ReleaseSite:
    """What the site serves, by path, and which paths it was asked for."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.answers: dict[str, Answer] = {}

    def publish(self, flavour: str = FLAVOUR_MARK) -> None:
        """Serve all archives of the preferred release with their checksums."""
        for artifact in release_artifacts():
            version = CLI.preferred if artifact.name == "dapr" else DAPR.preferred
            program = fake_program(artifact.name, version, flavour=flavour).encode()
            self.put(artifact.path, archive_of(artifact.name, program))

    def put(self, path: str, content: bytes) -> None:
        """Serve a file and its checksum."""
        self.files[f"/{path}"] = content
        self.files[f"/{path}.sha256"] = hashlib.sha256(content).hexdigest().encode() + b"\n"

    def path_of(self, name: str) -> str:
        """The path of a program's archive."""
        return next(f"/{artifact.path}" for artifact in release_artifacts() if artifact.name == name)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        self.asked.append(request.path)
        if request.path in self.answers:
            self.answers[request.path](request)
            return
        content = self.files.get(request.path)
        request.send_response(404 if content is None else 200)
        request.send_header("Content-Length", str(len(content or b"")))
        request.end_headers()
        request.wfile.write(content or b"")


def altered(content: bytes) -> bytes:
    """The same archive with another file in it."""
    return gzip.compress(gzip.decompress(content).replace(b"echo", b"true"))


def _bound(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    for port in PORTS:
        with suppress(OSError):
            return ThreadingHTTPServer(("127.0.0.1", port), handler)
    raise AssertionError(f"no free port in {PORTS}")


@contextmanager
def release_site() -> Iterator[ReleaseSite]:
    """A site that runs while the block does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.answer(self)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing: the tests look at what was asked for."""

    with _bound(Handler) as server:
        site = ReleaseSite(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
