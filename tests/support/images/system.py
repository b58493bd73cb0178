"""The images of the whole set, for the tests' own engine, which can pull none.

Those of servers, and the base of the services', are made of Debian's packages, Dapr's of the runtime that is here,
and the services' as `make images` makes them. To make them beforehand, and write them into one archive:
`python -m tests.support.images.system FILE`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from deploy.docker import images
from deploy.local.progress import Progress
from deploy.local.runtime import Runtime, get_runtime
from tests.support.containers import IMAGES, Image
from tests.support.engine import engine, own_engine
from tests.support.images.debian import has_image, make_image

PYTHON: Final = Image("dovecote-tests/python:3.11", (), ("python3",))
_DAPR: Final = ("daprd", "placement", "scheduler")
# What is older than this is of no more use as a cache.
_KEPT: Final = "168h"


def make_images(progress: Progress) -> Mapping[str, str]:
    """Make what is not there yet, and the services' images anew; return the variables by which compose takes them.

    Raises MissingServerError where no engine can be started.
    """
    runtime = get_runtime(progress)
    with own_engine(progress) as own, engine(own.address) as client:
        for image in (PYTHON, *dict.fromkeys(IMAGES.values())):
            make_image(client, image, progress)
        for name in _DAPR:
            _make_dapr(client, runtime, name, progress)
        _build_services(own.address)
        client.images.prune({"dangling": True, "until": _KEPT})
    servers = {"REDIS": "REDIS_HOST", "MQTT": "MQTT_URL", "RABBITMQ": "RABBITMQ_URL", "KAFKA": "KAFKA_BROKERS"}
    return {
        "DAPR_VERSION": runtime.version,
        **{f"{name}_IMAGE": IMAGES[variable].name for name, variable in servers.items()},
    }


def _make_dapr(client: Any, runtime: Runtime, name: str, progress: Progress) -> None:
    """As Dapr's own are: one program at the root of nothing else."""
    tag = f"daprio/{name}:{runtime.version}"
    if has_image(client, tag):
        return
    with tempfile.TemporaryDirectory() as folder, progress.step(f"Making the image {tag}"):
        shutil.copy(runtime.daprd.with_name(name), folder)
        Path(folder, "Dockerfile").write_text(f"FROM scratch\nCOPY {name} /{name}\nUSER 65532:65532\n")
        client.images.build(path=folder, tag=tag, rm=True)


def _build_services(address: str) -> None:
    command = [sys.executable, "-m", "deploy.docker", f"--base-image={PYTHON.name}", "--options=--network=host"]
    env = {**os.environ, "DOCKER_HOST": address}
    done = subprocess.run(command, cwd=images.CHECKOUT, env=env, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr


def save_images(file: Path, progress: Progress) -> None:
    """Write the services' images and the servers' into one archive."""
    names = [*map(images.full_name, images.names()), *dict.fromkeys(image.name for image in IMAGES.values())]
    with own_engine(progress) as own, progress.step(f"Saving {file}"):
        env = {**os.environ, "DOCKER_HOST": own.address}
        subprocess.run(["docker", "save", f"--output={file}", *names], env=env, check=True)


if __name__ == "__main__":
    make_images(Progress())
    for given in sys.argv[1:]:
        save_images(Path(given), Progress())
