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
_MACHINES: Final = "unix:///var/run/docker.sock"
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 60.0


def machines_address() -> str:
    """Where the engine of this machine answers, if it has one."""
    return os.environ.get("DOCKER_HOST", _MACHINES)


@contextmanager
def engine(address: str | None = None) -> Iterator[Any]:
    """The container engine at an address (default: the machine's), as docker's client.

    Raises DockerException or OSError where none answers.
    """
    address = address or machines_address()
    scheme, _, path = address.partition("://")
    if scheme == "unix":
        # Docker's client leaves a socket open where nobody answers.
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(path)
    with closing(docker.from_env(timeout=600, environment={**os.environ, "DOCKER_HOST": address})) as found:
        yield found


@contextmanager
def own_engine(progress: Progress) -> Iterator[str]:
    """The address of an engine of the tests' own, which runs with the block; only root can start one.

    Its images are kept in the user's cache, one run at a time uses it, and it touches nothing of the machine's
    network. Raises MissingServerError where it cannot be installed, does not start or end, or leaves what cannot be
    removed.
    """
    program = find_program("dockerd", ["docker.io"], _MEND, progress)
    folder = cache_folder().parent / "containers"
    with locked(folder, progress, "the container engine"):
        place = Path(tempfile.mkdtemp(prefix="dovecote-engine-"))
        try:
            with _running(program, place, folder / "data") as address:
                yield address
        finally:
            _remove(place)


@contextmanager
def _running(program: Path, place: Path, data: Path) -> Iterator[str]:
    address = f"unix://{place}/socket"
    command = [
        *die_with_parent(signal.SIGTERM),
        str(program),
        f"--host={address}",
        f"--data-root={data}",
        f"--exec-root={place}/run",
        f"--pidfile={place}/pid",
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
        "--ip-forward=false",
        "--ip-masq=false",
    ]
    log = place / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        _wait(process, address, log)
        yield address
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.wait()
        raise MissingServerError(
            f"the container engine did not end in {_STOP_SECONDS:g} s and was killed"
        ) from error


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with suppress(DockerException, OSError), engine(address) as found:
            found.ping()
            return
        if process.poll() is not None or time.monotonic() > deadline:
            words = "\n".join(log.read_text(errors="replace").splitlines()[-3:])
            raise MissingServerError(f"the container engine does not start:\n{words}")
        time.sleep(0.1)


def _remove(place: Path) -> None:
    # It leaves this mounted.
    left = place / "run" / "netns" / "default"
    try:
        if os.path.ismount(left):
            subprocess.run(["umount", str(left)], check=True)
        shutil.rmtree(place)
    except (subprocess.CalledProcessError, OSError) as error:
        raise MissingServerError(f"what the container engine left in {place} cannot be removed: {error}") from error
