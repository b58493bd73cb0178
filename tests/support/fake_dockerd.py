"""A dockerd that answers, has one image, fails at all that is asked of it otherwise, and may refuse to end."""

import json
import signal
import socketserver
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

IMAGE = "redis:7"


class Answers(BaseHTTPRequestHandler):
    """What Docker's client needs to know of it and of its image."""

    def do_GET(self) -> None:
        known = self.path.endswith(("/_ping", "/version", f"/images/{IMAGE}/json"))
        body = json.dumps({"ApiVersion": "1.41", "Id": "sha256:1"} if known else {"message": "the disk is broken"})
        self.send_response(200 if known else 500)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body.encode())

    def address_string(self) -> str:
        return "a local socket"


def write_dockerd(folder: Path, *, stubborn: bool = False) -> None:
    """Write the command, which is found where the folder is first in the PATH."""
    command = folder / "dockerd"
    word = "stubborn" if stubborn else "willing"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{__file__}" {word} "$@"\n')
    command.chmod(0o755)


if __name__ == "__main__":
    if sys.argv[1] == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    [host] = [argument for argument in sys.argv if argument.startswith("--host=unix://")]
    with socketserver.UnixStreamServer(host.removeprefix("--host=unix://"), Answers) as server:
        server.serve_forever()
