"""The scripts that make a cluster on this machine, with commands that only take notes."""

import os
import subprocess
from pathlib import Path

import pytest

from deploy.local.versions import SOURCE_VERSION

CHECKOUT = Path(__file__).resolve().parents[2]
NOTES = """#!/bin/sh
echo "$(basename "$0") $*" >> {folder}/journal
case "$(basename "$0") $*" in
  "kind get clusters"*) cat {folder}/clusters;;
  "kubectl get deployments"*) cat {folder}/injectors;;
esac
"""


class Machine:
    """A machine whose commands take notes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "bin"
        self._path.mkdir()
        for name in ("docker", "kind", "kubectl", "helm", "make"):
            command = self._path / name
            command.write_text(NOTES.format(folder=folder))
            command.chmod(0o755)
        self.has("clusters", "")
        self.has("injectors", "")

    def has(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text)

    def lacks(self, name: str) -> None:
        (self._path / name).unlink()

    def run(self, script: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", str(CHECKOUT / "deploy" / "kind" / script)],
            env={"PATH": f"{self._path}:{_needed(self._folder)}", **env},
            capture_output=True,
            text=True,
            check=False,
        )

    def notes(self) -> str:
        return (self._folder / "journal").read_text()


def _needed(folder: Path) -> Path:
    """A folder with what the scripts need of every machine, and nothing else."""
    found = folder / "needed"
    found.mkdir(exist_ok=True)
    for name in ("basename", "cat", "dirname", "grep", "mktemp", "rm", "sh"):
        if not (found / name).exists():
            (found / name).symlink_to(
                next(p for p in map(Path, os.defpath.split(":")) if (p / name).exists()) / name
            )
    return found


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("command", ["docker", "kind", "kubectl", "helm"])
def test_a_command_that_is_missing_is_named(machine: Machine, command: str) -> None:
    machine.lacks(command)
    done = machine.run("up.sh")
    assert done.returncode == 1
    assert f"not on the PATH: {command}" in done.stderr


def test_from_nothing_come_cluster_images_dapr_chart_and_a_first_question_in_this_order(machine: Machine) -> None:
    done = machine.run("up.sh")
    assert done.returncode == 0, done.stderr
    steps = (
        "kind create cluster --name dovecote",
        "make images SAVE=",
        "kind load image-archive --name dovecote",
        "helm upgrade --install dapr dapr --repo",
        "helm upgrade --install dovecote charts/dovecote",
        "helm test dovecote",
    )
    places = [machine.notes().find(step) for step in steps]
    assert -1 not in places
    assert places == sorted(places)


def test_what_is_there_is_left_alone(machine: Machine) -> None:
    machine.has("clusters", "other\ndovecote\n")
    machine.has("injectors", "deployment.apps/dapr-sidecar-injector\n")
    assert machine.run("up.sh").returncode == 0
    assert "kind create" not in machine.notes()
    assert "install dapr" not in machine.notes()


def test_dapr_is_taken_from_where_it_is_said_to_be(machine: Machine) -> None:
    done = machine.run("dapr.sh", DAPR_CHART="/charts/dapr.tgz", DAPR_REGISTRY="registry.example/dapr")
    assert done.returncode == 0, done.stderr
    assert "helm upgrade --install dapr /charts/dapr.tgz" in machine.notes()
    assert f"global.tag={SOURCE_VERSION}" in machine.notes()
    assert "global.registry=registry.example/dapr" in machine.notes()
    assert "--repo" not in machine.notes()
