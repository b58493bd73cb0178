"""Brokers in containers: what the launcher would start as a program of this machine, from an image instead.

The server is configured and told all the same; only its programs are the image's. It runs in the machine's own
network, so that it can listen on the loopback alone, and as this user, so that its data is ours.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from docker.errors import APIError, DockerException, NotFound

from deploy.local.brokers import order, redis
from deploy.local.brokers.server import Server
from deploy.local.components import Component
from deploy.local.progress import Progress
from deploy.local.servers import kept_password
from tests.support.engine import engine
from tests.support.ports import free_ports

_CHECKOUT = Path(__file__).resolve().parents[2]
_PORTS = 3


@dataclass(frozen=True)
class Image:
    """An image with a broker's server: its name, the programs in it, and the Debian packages that hold the same."""

    name: str
    programs: tuple[str, ...]
    packages: tuple[str, ...]


_REDIS: Final = Image("redis:7", ("redis-server",), ("redis-server",))
KAFKA: Final = Image("apache/kafka:4.1.1", ("java", "/opt/kafka/libs"), ("default-jre-headless",))
# By the variable that holds the server's address.
IMAGES: Final[Mapping[str, Image]] = {
    "REDIS_HOST": _REDIS,
    "REDIS_TLS_HOST": _REDIS,
    "MQTT_URL": Image("eclipse-mosquitto:2", ("mosquitto",), ("mosquitto",)),
    "RABBITMQ_URL": Image("rabbitmq:3", ("rabbitmq-server",), ("rabbitmq-server",)),
    "KAFKA_BROKERS": KAFKA,
}


def lacking(*images: str) -> str | None:
    """Why the images cannot be run: no engine answers, or lacks one. `DOVECOTE_PULL=1` lets it fetch them."""
    try:
        with engine() as found:
            # An engine in a virtual machine has that one's network, and not our files.
            if (host := found.info()["Name"]) != socket.gethostname():
                return f"the container engine runs on another machine, {host!r}"
            return next(filter(None, (_lacks(found, image) for image in images)), None)
    except (DockerException, OSError) as error:
        return f"no container engine answers ({error})"


def _lacks(client: Any, image: str) -> str | None:
    try:
        client.images.get(image)
    except NotFound:
        if os.environ.get("DOVECOTE_PULL") != "1":
            return f"the container engine has no image {image} (DOVECOTE_PULL=1 lets it fetch one)"
        try:
            client.images.pull(image)
        except APIError as error:
            return f"the container engine cannot fetch the image {image} ({error.explanation or error})"
    return None


@contextmanager
def contained(variable: str, component: Component | None, folder: Path) -> Iterator[tuple[Server, str]]:
    """A broker's server in a container, for the launcher to start, and the container's name.

    It begins empty, its data lies in the folder. `component` is the one that reads the address; for the state
    store's server there need be none.
    """
    image = IMAGES[variable]
    data = folder / "container"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    ports = free_ports(_PORTS)
    if component is None:
        server = redis.plain(data, ports[0], kept_password(data / "password"), {}, *image.programs)
    else:
        server = order.own_server(
            variable, component, data, ports=ports, env={}, progress=Progress(), programs=image.programs
        )
    name = f"dovecote-{server.program.name}-{ports[0]}"
    try:
        yield _in_container(server, name, image.name, data), name
    finally:
        remove(name)


def _in_container(server: Server, name: str, image: str, data: Path) -> Server:
    inner = server.program
    what = {
        "name": name,
        "image": image,
        "data": str(data),
        "folder": str(inner.cwd),
        "env": dict(inner.env),
        "command": inner.command,
        "stop_seconds": inner.stop_seconds,
    }
    command = (sys.executable, "-m", "tests.support.container_program", json.dumps(what))
    env = {"TESTCONTAINERS_RYUK_DISABLED": "true"}
    outer = replace(inner, command=command, cwd=_CHECKOUT, env=env, stop_seconds=inner.stop_seconds + 10)
    return replace(server, program=outer)


def remove(name: str) -> None:
    """Remove a container, running or not; one that is not there is no error."""
    with engine() as found, suppress(NotFound):
        found.containers.get(name).remove(force=True)


def exists(name: str) -> bool:
    """Whether there is a container of that name, running or not."""
    with engine() as found:
        try:
            found.containers.get(name)
        except NotFound:
            return False
        return True
