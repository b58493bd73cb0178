"""The container engine: the one that answers on this machine, or one of the tests' own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
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
_NO_NETWORKS: Final = (
    "--bridge=none",
    "--iptables=false",
    "--ip6tables=false",
    "--ip-forward=false",
    "--ip-masq=false",
)
# In a network namespace of its own, all is its own: bridges, rules, and addresses that are for benchmarks.
_NETWORKS: Final = ("unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$0" "$@"')
_RANGES: Final = ("--bip=198.18.200.1/24", "--default-address-pool=base=198.18.208.0/20,size=24")


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


def own_engine_lacking() -> str | None:
    """Why the tests cannot start an engine of their own, if so."""
    if os.geteuid() != 0:
        return "only root can start a container engine"
    try:
        find_program("dockerd", ["docker.io"], _MEND, Progress())
    except MissingServerError as error:
        return str(error)
    return None


@dataclass(frozen=True)
class OwnEngine:
    """An engine of the tests' own: where it answers, and its process."""

    address: str
    pid: int

    def inside(self, *command: str) -> list[str]:
        """The command as it is run in the engine's network, in which its containers' ports are published."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--", *command]


@contextmanager
def own_engine(progress: Progress, *, networks: bool = False) -> Iterator[OwnEngine]:
    """An engine of the tests' own, which runs with the block; only root can start one.

    Its images are kept in the user's cache, one run at a time uses it, and it touches nothing of the machine's
    network: its containers have the machine's own or none, or `networks` among themselves, from which nothing leads
    outside. Raises MissingServerError where it cannot be installed, does not start or end, or leaves what cannot be
    removed.
    """
    program = find_program("dockerd", ["docker.io"], _MEND, progress)
    folder = cache_folder().parent / "containers"
    with locked(folder, progress, "the container engine"):
        place = Path(tempfile.mkdtemp(prefix="dovecote-engine-"))
        try:
            if networks:
                find_program(
                    "ip", ["iproute2"], "networks of containers need it (Debian: apt install iproute2)", progress
                )
                command = [*_NETWORKS, str(program), *_RANGES]
            else:
                command = [str(program), *_NO_NETWORKS]
            with _running(command, place, folder / "data") as running:
                yield running
        finally:
            _remove(place)


@contextmanager
def _running(program: Sequence[str], place: Path, data: Path) -> Iterator[OwnEngine]:
    address = f"unix://{place}/socket"
    command = [
        *die_with_parent(signal.SIGTERM),
        *program,
        f"--host={address}",
        f"--data-root={data}",
        f"--exec-root={place}/run",
        f"--pidfile={place}/pid",
    ]
    log = place / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        _wait(process, address, log)
        yield OwnEngine(address, process.pid)
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
