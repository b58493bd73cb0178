"""Brokers in containers: for an engine that answers and has their image. `DOVECOTE_PULL=1` lets it fetch images."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import docker
from docker.errors import DockerException, NotFound

from deploy.local.brokers.server import USER, Server
from deploy.local.ports import HOST
from deploy.local.readiness import check_probe
from deploy.local.servers import listens
from deploy.local.spawning import Program
from tests.support.ports import bound_socket

_CHECKOUT = Path(__file__).resolve().parents[2]
MOSQUITTO: Final = "eclipse-mosquitto:2"
_FOLDER = "/mosquitto/config"
_CONFIGURATION = """\
listener {port} {host}
allow_anonymous false
password_file {folder}/passwords
persistence true
persistence_location {folder}/
max_queued_messages 0
max_inflight_messages 100
user root
log_dest stderr
"""


@contextmanager
def engine() -> Iterator[Any]:
    """The container engine, as docker's client; raises DockerException or OSError where none answers."""
    scheme, _, path = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").partition("://")
    if scheme == "unix":
        # Docker's client leaves a socket open where nobody answers.
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(path)
    with closing(docker.from_env(timeout=60)) as found:
        yield found


def engine_answers() -> bool:
    """Say whether there is a container engine."""
    try:
        with engine() as found:
            return bool(found.ping())
    except (DockerException, OSError):
        return False


def has_image(image: str) -> bool:
    """Say whether a container engine answers and has the image, or may and can pull it."""
    try:
        with engine() as found:
            if os.environ.get("DOVECOTE_PULL") == "1":
                found.images.pull(image)
            return bool(found.images.get(image))
    except (DockerException, OSError):
        return False


@contextmanager
def mosquitto(folder: Path, image: str) -> Iterator[Server]:
    """Mosquitto in a container as a server that the launcher starts; it keeps its data in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    password = secrets.token_urlsafe(12)
    with bound_socket() as found:
        port = found.getsockname()[1]
    (folder / "mosquitto.conf").write_text(_CONFIGURATION.format(host=HOST, port=port, folder=_FOLDER))
    (folder / "passwords").write_text(f"{USER}:{_hashed(password)}\n")
    name = f"dovecote-mosquitto-{port}"
    command = (sys.executable, "-m", "tests.support.container_program", name, image, str(folder), _FOLDER)
    server = Server(
        Program("mosquitto", command, _CHECKOUT, {"TESTCONTAINERS_RYUK_DISABLED": "true"}),
        {"MQTT_URL": f"mqtt://{USER}:{password}@{HOST}:{port}"},
        check_probe(partial(listens, f"{HOST}:{port}"), "does not listen"),
    )
    try:
        yield server
    finally:
        remove(name)


def remove(name: str) -> None:
    """Remove a container, running or not; one that is not there is no error."""
    with engine() as found, suppress(NotFound):
        found.containers.get(name).remove(force=True)


def _hashed(password: str) -> str:
    """A password as Mosquitto keeps it: 101 rounds of PBKDF2."""
    salt = secrets.token_bytes(12)
    found = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return "$".join(["", "7", "101", base64.b64encode(salt).decode(), base64.b64encode(found).decode()])
