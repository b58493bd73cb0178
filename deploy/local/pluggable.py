"""A component that is a program of ours, beside each sidecar."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from deploy.local.brokers import zeromq
from deploy.local.components import Component
from deploy.local.spawning import Program, die_with_parent

_TYPE = "pubsub.zeromq"
# The kernel's limit for the path of a socket is 107 bytes, on some systems 103.
_LONGEST_PATH = 100


def is_needed(components: Iterable[Component]) -> bool:
    """Say whether one of a sidecar's components is a program of ours."""
    return any(component.type == _TYPE for component in components)


def with_component(sidecar: Program, data: Path) -> Program:
    """Return the program that serves a sidecar's component and is the parent of the sidecar.

    A sidecar does not connect again to a component that was away, so both are one program for the supervisor:
    the component is there first, and where one of them ends, both are started again.
    """
    socket = _socket_folder(data, sidecar.name) / f"{_TYPE.partition('.')[2]}.sock"
    serve = (*zeromq.COMMAND, "component", f"--directory={sidecar.cwd}", str(socket))
    return replace(
        sidecar,
        command=(*serve, *die_with_parent(), *sidecar.command),
        cwd=zeromq.CODE,
        env={**sidecar.env, "DAPR_COMPONENTS_SOCKETS_FOLDER": str(socket.parent)},
    )


def _socket_folder(data: Path, name: str) -> Path:
    folder = data / "sockets" / name
    if len(str(folder)) < _LONGEST_PATH - len("/zeromq.sock"):
        return folder
    mark = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"dovecote-{mark}"
