"""The program that serves a component: beside a sidecar that it starts, alone, and as the broker."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from services.zeromq_pubsub.main import main
from tests.support.ports import free_ports
from tests.support.waiting import wait_until
from tests.support.zeromq import port_settings

ROOT = Path(__file__).resolve().parents[2]
# A sidecar that notes where it was started, whether its component was there, and how it ended.
SIDECAR = """
import pathlib, signal, sys, time
socket, notes = map(pathlib.Path, sys.argv[1:])
def end(number, frame):
    notes.write_text(f"ended, component there: {socket.exists()}")
    sys.exit(3)
signal.signal(signal.SIGTERM, end)
notes.write_text(f"{pathlib.Path.cwd()}, component there: {socket.exists()}")
while True: signal.pause()
"""


@contextmanager
def program(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "services.zeromq_pubsub.main", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "sockets" / "zeromq.sock"


def test_a_sidecar_starts_after_its_component_drains_with_it_and_gives_the_exit_status(
    tmp_path: Path, socket: Path
) -> None:
    notes = tmp_path / "notes"
    command = (sys.executable, "-c", SIDECAR, str(socket), str(notes))
    with program("component", f"--directory={tmp_path}", str(socket), *command) as process:
        wait_until(lambda: notes.exists() and notes.read_text(), "the sidecar's start", 30)
        assert notes.read_text() == f"{tmp_path}, component there: True"
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(20) == 3
    assert notes.read_text() == "ended, component there: True"
    assert not socket.exists()


def test_where_only_the_component_is_told_to_end_it_tells_its_sidecar(tmp_path: Path, socket: Path) -> None:
    notes = tmp_path / "notes"
    command = (sys.executable, "-c", SIDECAR, str(socket), str(notes))
    with program("component", "--pass-on", str(socket), *command) as process:
        wait_until(lambda: notes.exists() and notes.read_text(), "the sidecar's start", 30)
        process.terminate()
        assert process.wait(20) == 3
    assert notes.read_text() == "ended, component there: True"


def test_a_component_without_a_sidecar_serves_until_it_is_asked_to_end(socket: Path) -> None:
    with program("component", str(socket)) as process:
        wait_until(socket.exists, "the socket", 30)
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        process.terminate()
        assert process.wait(20) == 0
    assert not socket.exists()


def test_a_broker_ends_when_it_is_asked_to_and_a_second_one_is_refused() -> None:
    ports = [f"{name}={value}" for name, value in port_settings().items()]
    with program("broker", *ports) as process:
        assert process.stderr is not None
        assert "the broker takes messages" in process.stderr.readline()
        with program("broker", *ports) as second:
            _, said = second.communicate(timeout=30)
        assert second.returncode == 2
        assert said.startswith("port: no broker can be at tcp://127.0.0.1:")
        process.terminate()
        assert process.wait(20) == 0


def test_a_broker_with_a_wrong_setting_says_which(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["broker", "prot=1"]) == 2
    assert capsys.readouterr().err.startswith("prot: there is no such setting")


class Shutdown(BaseHTTPRequestHandler):
    """Notes who is told to end, and with which token."""

    told: ClassVar[list[tuple[str, str | None]]] = []

    def do_POST(self) -> None:
        self.told.append((self.path, self.headers["dapr-api-token"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_component_that_comes_after_one_that_died_has_the_sidecar_start_again(
    socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAPR_API_TOKEN", "secret")
    Shutdown.told.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Shutdown) as sidecar:
        threading.Thread(target=sidecar.serve_forever, daemon=True).start()
        port = f"--sidecar-port={sidecar.server_port}"
        with program("component", port, str(socket)) as first:
            wait_until(socket.exists, "the component's socket", 30)
            assert Shutdown.told == []
            first.kill()
            first.wait(20)
        assert socket.exists()
        with program("component", port, str(socket)):
            wait_until(lambda: Shutdown.told, "the sidecar to be told", 30)
        sidecar.shutdown()
    assert Shutdown.told == [("/v1.0/shutdown", "secret")]


def test_a_component_that_comes_before_its_sidecar_serves_whatever_was_left_behind(socket: Path) -> None:
    socket.parent.mkdir()
    socket.touch()
    (port,) = free_ports(1)
    with program("component", f"--sidecar-port={port}", str(socket)) as process:
        wait_until(socket.is_socket, "the component's socket", 30)
        process.terminate()
        assert process.wait(20) == 0
