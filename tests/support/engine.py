"""The container engine: the one that answers on this machine, or one of the tests' own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import docker
from docker.errors import DockerException

from deploy.local.brokers.server import find_program
from deploy.local.cache import cache_folder, locked
from deploy.local.errors import MissingServerError
from deploy.local.progress import Progress
from deploy.local.spawning import die_with_parent

_MEND: Final = "tests run brokers in its containers (Debian: apt install docker.io)"
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 60.0


@contextmanager
def engine() -> Iterator[Any]:
    """The container engine, as docker's client; raises DockerException or OSError where none answers."""
    scheme, _, path = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").partition("://")
    if scheme == "unix":
        # Docker's client leaves a socket open where nobody answers.
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(path)
    with closing(docker.from_env(timeout=600)) as found:
        yield found


@contextmanager
def own_engine(progress: Progress) -> Iterator[None]:
    """An engine of the tests' own, at DOCKER_HOST while the block runs; only root can start one.

    Its images are kept in the user's cache, one run at a time uses it, and it touches nothing of the machine's
    network. Raises MissingServerError where it cannot be installed or does not start.
    """
    program = find_program("dockerd", ["docker.io"], _MEND, progress)
    folder = cache_folder().parent / "containers"
    with locked(folder, progress, "the container engine"):
        place = Path(tempfile.mkdtemp(prefix="dovecote-engine-"))
        before = os.environ.get("DOCKER_HOST")
        os.environ["DOCKER_HOST"] = f"unix://{place}/socket"
        try:
            with _running(program, place, folder / "data"):
                yield
        finally:
            del os.environ["DOCKER_HOST"]
            if before is not None:
                os.environ["DOCKER_HOST"] = before
            _remove(place)


@contextmanager
def _running(program: Path, place: Path, data: Path) -> Iterator[None]:
    command = [
        *die_with_parent(signal.SIGTERM),
        str(program),
        f"--host={os.environ['DOCKER_HOST']}",
        f"--data-root={data}",
        f"--exec-root={place}/run",
        f"--pidfile={place}/pid",
        "--bridge=none",
        "--iptables=false",
        "--ip-forward=false",
        "--ip-masq=false",
    ]
    log = place / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        _wait(process, log)
        yield
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)


def _wait(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with suppress(DockerException, OSError), engine() as found:
            found.ping()
            return
        if process.poll() is not None or time.monotonic() > deadline:
            words = "\n".join(log.read_text(errors="replace").splitlines()[-3:])
            raise MissingServerError(f"the container engine does not start:\n{words}")
        time.sleep(0.1)


def _remove(place: Path) -> None:
    # It leaves this mounted.
    left = place / "run" / "netns" / "default"
    if os.path.ismount(left):
        subprocess.run(["umount", str(left)], check=True)
    shutil.rmtree(place)
