"""The brokers' images, made of Debian's packages for an engine that can pull none.

The base is what debootstrap makes of the mirror that apt is configured with. To make them beforehand:
`python -m tests.support.images.debian`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from docker.errors import DockerException, NotFound

from deploy.local.brokers.kafka_jars import find_jars
from deploy.local.brokers.server import find_program
from deploy.local.errors import MissingServerError
from deploy.local.progress import Progress
from tests.support.containers import IMAGES, KAFKA, Image, lacking
from tests.support.engine import engine, own_engine

_BASE: Final = "dovecote-tests/debian:1"
_DOCKERFILE: Final = Path(__file__).with_name("Dockerfile")


@contextmanager
def usable_engine(progress: Progress) -> Iterator[None]:
    """An engine with the images of all brokers, where DOCKER_HOST says in the block: the machine's, else our own.

    Raises MissingServerError where there is neither.
    """
    reason = lacking(*(image.name for image in IMAGES.values()))
    if reason is None:
        yield
    elif os.geteuid() != 0:
        raise MissingServerError(f"{reason}, and only root can start another")
    else:
        with own_engine(progress):
            make_images(progress)
            yield


def make_images(progress: Progress) -> None:
    """Make those of the brokers' images that the engine has not got yet.

    Raises MissingServerError with the last words of what failed.
    """
    with engine() as client:
        for image in dict.fromkeys(IMAGES.values()):
            if not _has(client, image.name):
                _make(client, image, progress)


def _has(client: Any, name: str) -> bool:
    try:
        client.images.get(name)
    except NotFound:
        return False
    return True


def _make(client: Any, image: Image, progress: Progress) -> None:
    if not _has(client, _BASE):
        _make_base(client, progress)
    with tempfile.TemporaryDirectory() as name, progress.step(f"Making the image {image.name}"):
        folder = Path(name)
        shutil.copy(_DOCKERFILE, folder)
        files = folder / "files"
        files.mkdir()
        if image is KAFKA:
            shutil.copytree(find_jars(progress), files / image.programs[1].lstrip("/"))
        arguments = {"BASE": _BASE, "PACKAGES": " ".join(image.packages)}
        try:
            client.images.build(path=name, tag=image.name, buildargs=arguments, network_mode="host", rm=True)
        except DockerException as error:
            raise MissingServerError(f"the image {image.name} cannot be made: {error}") from error


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
    with usable_engine(Progress()):
        pass
