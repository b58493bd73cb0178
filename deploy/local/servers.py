"""The servers behind the apps: Dapr's placement and scheduler, and the stand-in model."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from deploy.local.errors import UnreachableError
from deploy.local.ports import FIRST, HOST
from deploy.local.spawning import Program

REDIS = FIRST + 1
PLACEMENT = FIRST + 2
SCHEDULER = FIRST + 3
MODEL = FIRST + 4
# Dapr lets its two health endpoints listen on every address, whatever --healthz-listen-address says. All they tell
# is whether the server is ready.
PLACEMENT_HEALTH = FIRST + 5
PLACEMENT_RAFT = FIRST + 6
SCHEDULER_HEALTH = FIRST + 7
ETCD_CLIENT = FIRST + 8
ETCD_PEER = FIRST + 9
SERVER_PORTS = tuple(range(REDIS, ETCD_PEER + 1))


class Binaries(Protocol):
    """Where the programs of the Dapr runtime lie."""

    @property
    def daprd(self) -> Path:
        """The sidecar."""

    @property
    def placement(self) -> Path:
        """The placement service, which says on which host an actor lives."""

    @property
    def scheduler(self) -> Path:
        """The scheduler, which keeps reminders and jobs."""


def placement(binary: Path, folder: Path, offset: int, env: Mapping[str, str]) -> Program:
    """Return Dapr's placement service, all its ports moved by `offset`."""
    return Program(
        "placement",
        (
            str(binary),
            f"--port={PLACEMENT + offset}",
            f"--listen-address={HOST}",
            f"--healthz-port={PLACEMENT_HEALTH + offset}",
            f"--initial-cluster=dapr-placement-0={HOST}:{PLACEMENT_RAFT + offset}",
            "--enable-metrics=false",
        ),
        folder,
        env,
    )


def scheduler(binary: Path, folder: Path, offset: int, env: Mapping[str, str]) -> Program:
    """Return Dapr's scheduler, its jobs kept in `folder`, all its ports moved by `offset`."""
    return Program(
        "scheduler",
        (
            str(binary),
            f"--port={SCHEDULER + offset}",
            f"--listen-address={HOST}",
            f"--healthz-port={SCHEDULER_HEALTH + offset}",
            f"--override-broadcast-host-port={HOST}:{SCHEDULER + offset}",
            f"--etcd-data-dir={folder / 'scheduler'}",
            f"--etcd-client-port={ETCD_CLIENT + offset}",
            f"--etcd-initial-cluster=dapr-scheduler-server-0=http://localhost:{ETCD_PEER + offset}",
            f"--identity-directory-write={folder / 'identity'}",
            "--enable-metrics=false",
        ),
        folder,
        env,
    )


def model(checkout: Path, port: int, env: Mapping[str, str]) -> Program:
    """Return the stand-in model that answers without a network."""
    command = (
        sys.executable,
        "-m",
        "uvicorn",
        "services.demo_model.main:app",
        "--host",
        HOST,
        "--port",
        str(port),
    )
    return Program("model", command, checkout, env)


def kept_password(path: Path) -> str:
    """Return the password kept in the file; the first call makes one, for its owner only."""
    if not path.exists():
        write_secret(path, secrets.token_urlsafe(24))
    return path.read_text()


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


async def listens(address: str) -> bool:
    """Say whether something accepts connections at `host:port`."""
    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    return True


async def require_reachable(variable: str, address: str) -> None:
    """Raise UnreachableError, naming the variable, unless something listens at `host:port`."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UnreachableError(f"{variable} has {address!r}: it must name host:port")
    if not await listens(address):
        raise UnreachableError(
            f"{variable} names {address!r}, where nothing answers: start it, or unset {variable}"
        )
