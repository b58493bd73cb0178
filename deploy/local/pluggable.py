"""Pub/sub by a component that is a program of ours: one beside each sidecar, and one broker for all."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import yaml

from deploy.local.errors import LauncherError
from deploy.local.ports import FIRST, HOST, WIDTH
from deploy.local.spawning import Program, die_with_parent

BROKER = "zeromq"
PORT = FIRST + WIDTH - 2
BACKEND_PORT = FIRST + WIDTH - 1
PORTS = (PORT, BACKEND_PORT)
_TYPE = "pubsub.zeromq"
_CODE = Path(__file__).resolve().parents[2]
_MODULE = (sys.executable, "-m", "services.zeromq_pubsub.main")
# The kernel's limit for the path of a socket is 107 bytes, on some systems 103.
_LONGEST_PATH = 100


def settings_of(folders: Iterable[Path]) -> dict[str, str] | None:
    """Return the settings of the component that is a program of ours; None if no folder has one."""
    for folder in folders:
        for file in sorted(folder.glob("*.yaml")):
            for document in yaml.safe_load_all(file.read_text()):
                spec = (document or {}).get("spec") or {}
                if spec.get("type") == _TYPE:
                    # What is a secret, such as an address, comes from the environment.
                    return {item["name"]: str(item["value"]) for item in spec["metadata"] if "value" in item}
    return None


def addresses(given: Mapping[str, str], offset: int) -> dict[str, str]:
    """Return the variables in which components find the broker: the user's own, if ZEROMQ_HOST names one."""
    own = "ZEROMQ_HOST" not in given
    default = {
        "ZEROMQ_HOST": HOST,
        "ZEROMQ_PORT": str(PORT + offset) if own else "5555",
        "ZEROMQ_BACKEND_PORT": str(BACKEND_PORT + offset) if own else "5556",
    }
    return {name: given.get(name, value) for name, value in default.items()}


def needs_broker(settings: Mapping[str, str] | None, given: Mapping[str, str]) -> bool:
    """Say whether a broker is to be started: not if the user has one, or if components are it themselves."""
    return settings is not None and settings.get("proxy_mode") == "external" and "ZEROMQ_HOST" not in given


def broker(settings: Mapping[str, str], env: Mapping[str, str]) -> Program:
    """Return the broker that `env` gives the addresses of; raises LauncherError if it is not installed."""
    if find_spec("zmq") is None:
        raise LauncherError("ZeroMQ is not installed: pip install 'dovecote[zeromq]'")
    given = {name: settings[name] for name in ("high_water_mark", "linger") if name in settings}
    given |= {
        "broker_address": env["ZEROMQ_HOST"],
        "port": env["ZEROMQ_PORT"],
        "backend_port": env["ZEROMQ_BACKEND_PORT"],
    }
    return Program(BROKER, (*_MODULE, "broker", *(f"{name}={value}" for name, value in given.items())), _CODE, env)


def with_component(sidecar: Program, data: Path) -> Program:
    """Return the program that serves a sidecar's component and is the parent of the sidecar.

    A sidecar does not connect again to a component that was away, so both are one program for the supervisor:
    the component is there first, and where one of them ends, both are started again.
    """
    socket = _socket_folder(data, sidecar.name) / f"{_TYPE.partition('.')[2]}.sock"
    serve = (*_MODULE, "component", f"--directory={sidecar.cwd}", str(socket))
    return replace(
        sidecar,
        command=(*serve, *die_with_parent(), *sidecar.command),
        cwd=_CODE,
        env={**sidecar.env, "DAPR_COMPONENTS_SOCKETS_FOLDER": str(socket.parent)},
    )


def _socket_folder(data: Path, name: str) -> Path:
    folder = data / "sockets" / name
    if len(str(folder)) < _LONGEST_PATH - len("/zeromq.sock"):
        return folder
    mark = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"dovecote-{mark}"
