"""Ports: each running system owns one block of them, so that several run side by side on a machine."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import psutil

from deploy.local.errors import PortTakenError

FIRST = 21000
WIDTH = 200
# From 32768 upwards the kernel hands ports out to outgoing connections, so a listener there may find its port
# taken.
LAST = 32767
HOST = "127.0.0.1"


class PortBlock:
    """One system's claim on a block of ports: `offset` is what is added to each port of the run file.

    The claim is a socket bound to the block's first port: two launchers that look at the same moment cannot
    both have it, and it ends with the process that holds it.
    """

    def __init__(self, offset: int, guard: socket.socket) -> None:
        self.offset = offset
        self._guard = guard

    def release(self) -> None:
        """Give the block back."""
        self._guard.close()


def claim_block(home: Path, ports: Iterable[int], record: Path) -> PortBlock:
    """Claim a free block: the recorded one if it is free, else one picked by the hash of `home`.

    `ports` are the run file's ports; `record` is the JSON file that keeps the offset for the next start.
    """
    wanted = list(ports)
    blocks = (LAST + 1 - FIRST) // WIDTH - 1
    start = int.from_bytes(hashlib.sha256(str(home).encode()).digest()[:4])
    offsets = [(start + step) % blocks * WIDTH + WIDTH for step in range(blocks)]
    if record.exists():
        offsets.insert(0, int(json.loads(record.read_text())["offset"]))
    for offset in offsets:
        block = _claim(offset, wanted)
        if block is not None:
            record.write_text(json.dumps({"offset": offset}) + "\n")
            return block
    raise PortTakenError(
        f"each block of {WIDTH} ports from {FIRST + WIDTH} to {LAST} has a taken one: end what uses them"
    )


def claim_written_block(ports: Iterable[int]) -> PortBlock:
    """Claim the ports as the run file writes them; raises PortTakenError that names the taken one."""
    for port in (FIRST, *ports):
        require_free(port, f"free port {port}, which dapr.yaml uses")
    block = _claim(0, [])
    if block is None:
        raise PortTakenError(f"port {FIRST} was taken a moment ago: try again")
    return block


def _claim(offset: int, ports: list[int]) -> PortBlock | None:
    guard = socket.socket()
    try:
        guard.bind((HOST, FIRST + offset))
    except OSError:
        guard.close()
        return None
    if all(is_free(port + offset) for port in ports):
        return PortBlock(offset, guard)
    guard.close()
    return None


def is_free(port: int) -> bool:
    """Say whether a server can listen on the loopback port now."""
    with closing(socket.socket()) as probe:
        # As servers do: a connection of an earlier run that lingers in TIME_WAIT is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def require_free(port: int, mend: str) -> None:
    """Raise PortTakenError, naming the port, its owner and the mend, unless the port is free."""
    if not is_free(port):
        raise PortTakenError(f"port {port} is taken{_owner(port)}: {mend}")


def _owner(port: int) -> str:
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return ""
    for connection in connections:
        listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
        if listens and connection.pid:
            try:
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
            except psutil.NoSuchProcess:
                return ""
    return ""
