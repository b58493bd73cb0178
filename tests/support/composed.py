"""The whole set as compose brings it up, on an engine of the tests' own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local.brokers.server import find_program
from deploy.local.progress import Progress
from tests.support.engine import OwnEngine, engine
from tests.support.waiting import wait_until
from tests.support.whole import CHECKOUT

_READY = 'from urllib.request import urlopen; urlopen("http://127.0.0.1:8080/readyz", timeout=5)'
_READY_SECONDS = 150
_COMMAND_SECONDS = 180


@dataclass(frozen=True)
class Composed:
    """A running set: its engine, and docker's client of that."""

    own: OwnEngine
    client: Any
    project: str

    def container(self, service: str) -> Any:
        """The container of a service."""
        labels = [f"com.docker.compose.project={self.project}", f"com.docker.compose.service={service}"]
        [found] = self.client.containers.list(all=True, filters={"label": labels})
        return found

    def services(self) -> list[str]:
        """The services that have a container."""
        label = f"com.docker.compose.project={self.project}"
        found = self.client.containers.list(all=True, filters={"label": label})
        return sorted(container.labels["com.docker.compose.service"] for container in found)

    def crash(self, service: str) -> None:
        """Kill what runs in a container, as a crash would: told to end by docker, it would not be started again."""
        os.kill(self.container(service).attrs["State"]["Pid"], signal.SIGKILL)

    def ask(self, question: str) -> subprocess.Popen[str]:
        """Ask at the gateway's published port, as somebody on the machine does."""
        ask = [
            str(Path(sys.executable).with_name("dovecote")),
            "ask",
            question,
            "--gateway",
            "http://127.0.0.1:21010",
        ]
        command = self.own.inside(*ask)
        return subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def is_ready(self) -> bool:
        """Whether the gateway says that all is there."""
        return bool(self.container("gateway").exec_run(["python3", "-c", _READY]).exit_code == 0)


@contextmanager
def composed(own: OwnEngine, project: str, env: Mapping[str, str]) -> Iterator[Composed]:
    """The set, ready; its containers and volumes are removed afterwards. `env` says which broker and images."""
    given = {
        **os.environ,
        **env,
        "COMPOSE_PROJECT_NAME": project,
        "DOCKER_HOST": own.address,
        "DOCKER_BUILDKIT": "0",
        "COMPOSE_DOCKER_CLI_BUILD": "0",
    }
    command = _compose()

    def run(*arguments: str) -> None:
        done = subprocess.run(
            [*command, *arguments],
            cwd=CHECKOUT,
            env=given,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]

    with engine(own.address) as client:
        try:
            run("up", "--detach")
            running = Composed(own, client, project)
            wait_until(running.is_ready, "the whole set", _READY_SECONDS, interval=0.5)
            yield running
        finally:
            run("down", "--volumes", "--timeout", "20")


def _compose() -> list[str]:
    """The command, version 2 or 1."""
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        return [docker, "compose"]
    mend = "tests bring up the whole set with it (Debian: apt install docker-compose)"
    return [str(find_program("docker-compose", ["docker-compose"], mend, Progress()))]
