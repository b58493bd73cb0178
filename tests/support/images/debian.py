"""The brokers' images, made of Debian's packages for an engine that can pull none.

The base is what debootstrap makes of the mirror that apt is configured with. To make them beforehand:
`python -m tests.support.images.debian`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from docker.errors import DockerException, NotFound

from deploy.local.brokers.kafka_jars import find_jars
from deploy.local.brokers.server import find_program
from deploy.local.errors import MissingServerError
from deploy.local.progress import Progress
from tests.support.containers import IMAGES, KAFKA, Image, lacking
from tests.support.engine import engine, machines_address, own_engine

_BASE: Final = "dovecote-tests/debian:1"
_DOCKERFILE: Final = Path(__file__).with_name("Dockerfile")


@dataclass(frozen=True)
class UsableEngine:
    """The address of an engine, and why it lacks those of the brokers' images that it has not got."""

    address: str
    lacking: Mapping[str, str]


@contextmanager
def usable_engine(progress: Progress) -> Iterator[UsableEngine]:
    """An engine for the block that has the brokers' images: the machine's if it has all of them, else our own.

    Raises MissingServerError where one of our own would have to be started, and cannot be.
    """
    reasons = {image.name: reason for image in IMAGES.values() if (reason := lacking(image.name))}
    if not reasons:
        yield UsableEngine(machines_address(), {})
    elif os.geteuid() != 0:
        only = "and only root can start another engine"
        yield UsableEngine(machines_address(), {name: f"{reason}, {only}" for name, reason in reasons.items()})
    else:
        with own_engine(progress) as own:
            yield UsableEngine(own.address, _make_images(own.address, progress))


def _make_images(address: str, progress: Progress) -> dict[str, str]:
    """Make those of the brokers' images that the engine has not got yet; why not, for each that cannot be made."""
    reasons = {}
    for image in dict.fromkeys(IMAGES.values()):
        try:
            with engine(address) as client:
                make_image(client, image, progress)
        except (MissingServerError, DockerException, OSError) as error:
            reasons[image.name] = f"the image {image.name} cannot be made: {error}"
    return reasons


def has_image(client: Any, name: str) -> bool:
    """Whether the engine has an image of that name."""
    try:
        client.images.get(name)
    except NotFound:
        return False
    return True


def make_image(client: Any, image: Image, progress: Progress) -> None:
    """Make an image of Debian's packages, unless the engine has it."""
    if has_image(client, image.name):
        return
    if not has_image(client, _BASE):
        _make_base(client, progress)
    with tempfile.TemporaryDirectory() as name, progress.step(f"Making the image {image.name}"):
        folder = Path(name)
        shutil.copy(_DOCKERFILE, folder)
        files = folder / "files"
        files.mkdir()
        if image is KAFKA:
            shutil.copytree(find_jars(progress), files / image.programs[1].lstrip("/"))
        arguments = {"BASE": _BASE, "PACKAGES": " ".join(image.packages)}
        client.images.build(path=name, tag=image.name, buildargs=arguments, network_mode="host", rm=True)


def _make_base(client: Any, progress: Progress) -> None:
    debootstrap = find_program("debootstrap", ["debootstrap"], "it makes images (Debian only)", progress)
    release, mirror = _release()
    repository, _, tag = _BASE.partition(":")
    with tempfile.TemporaryDirectory() as name, progress.step("Making a base for images, of Debian's packages"):
        root = Path(name) / "root"
        _run([str(debootstrap), "--variant=minbase", release, str(root), mirror])
        archive = Path(name) / "root.tar"
        _run(["tar", "-C", str(root), "--exclude=./var/cache/apt/archives/*.deb", "-cf", str(archive), "."])
        with archive.open("rb") as data:
            client.api.import_image_from_data(data, repository=repository, tag=tag)


def _release() -> tuple[str, str]:
    """The code name of this machine's Debian, and the mirror that its packages come from."""
    lines = (line.partition("=") for line in Path("/etc/os-release").read_text().splitlines())
    release = {name: value.strip('"') for name, _, value in lines}.get("VERSION_CODENAME", "")
    wanted = ["Created-By: Packages", f"Codename: {release}", "Component: main"]
    mirrors = _run(["apt-get", "indextargets", "--format", "$(SITE)", *wanted]).split()
    if not mirrors:
        raise MissingServerError(f"apt is not configured with packages of {release!r}, which images are made of")
    return release, mirrors[0]


def _run(command: list[str]) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        words = "\n".join((done.stdout + done.stderr).strip().splitlines()[-4:])
        raise MissingServerError(f"{Path(command[0]).name} fails:\n{words}")
    return done.stdout


if __name__ == "__main__":
    with usable_engine(Progress()) as made:
        sys.exit("\n".join(made.lacking.values()) or None)
