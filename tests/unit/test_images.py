"""What `make images` tells the builder, and what it says where there is none."""

import os
from pathlib import Path

import pytest

from deploy.docker import __main__ as command
from deploy.docker import images
from deploy.docker.builder import BuilderError, find_builder

# Notes how it was called, and fails at what is named by a file beside it.
FAKE = """#!/bin/sh
here={folder}
[ -e $here/no-$(basename "$0")-$1 ] && {{ echo "no $1 today" >&2; exit 1; }}
case "$1$2" in info | buildxinspect) ;; *) echo "$(basename "$0") $DOCKER_BUILDKIT $*" >> $here/journal;; esac
case "$*" in *SERVICE=calculator*) [ ! -e $here/broken ] || {{ echo "the disk is full"; exit 1; }};; esac
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a docker and a podman, which are the only ones there are."""
    for name in ("docker", "podman"):
        (tmp_path / name).write_text(FAKE.format(folder=tmp_path))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def journal(place: Path) -> list[str]:
    return (place / "journal").read_text().splitlines()


def test_every_image_is_built_with_its_name_and_saved_with_the_others(place: Path) -> None:
    assert (
        command.main(["--registry=example.org/team", "--tag=7", "--save=all.tar", "--options=--network=host"]) == 0
    )
    *builds, saved = journal(place)
    assert len(builds) == len(images.names()) == 11
    for name in images.names():
        [line] = [line for line in builds if f"SERVICE={name} " in line]
        assert line.startswith("docker  buildx build --load --file=")
        assert f" --tag=example.org/team/dovecote/{name}:7 --build-arg=SERVICE={name} " in line
        assert " --network=host " in line
        assert f" --label=org.opencontainers.image.version={images.version()} " in line
    assert saved.startswith("docker  save --output=all.tar example.org/team/dovecote/gateway:7 ")


def test_without_buildx_it_is_the_older_builder_and_without_docker_podman(place: Path) -> None:
    (place / "no-docker-buildx").touch()
    assert command.main(["writer"]) == 0
    (place / "no-docker-info").touch()
    assert command.main(["writer"]) == 0
    first, second = journal(place)
    assert first.startswith("docker 0 build --file=")
    assert second.startswith("podman  build --format=docker --file=")


def test_where_nothing_builds_each_builder_says_why(place: Path) -> None:
    for missing in ("docker-buildx", "docker-info", "podman-info"):
        (place / f"no-{missing}").touch()
    with pytest.raises(
        BuilderError, match=r"(?s)install docker or podman.*docker buildx: no buildx.*podman: no info"
    ):
        find_builder()


def test_a_build_that_fails_shows_the_builders_last_words(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "broken").touch()
    assert command.main(["calculator"]) == 1
    assert "Building dovecote/calculator:" in (said := capsys.readouterr().err)
    assert "the disk is full" in said


def test_a_build_reads_what_is_named_and_the_authorities_of_this_machine(tmp_path: Path) -> None:
    authorities = tmp_path / "authorities.pem"
    authorities.write_text("a certificate")
    with images.context({"PIP_CERT": str(authorities)}) as folder:
        assert sorted(path.name for path in folder.iterdir()) == [
            "DECISIONS.md", "README.md", "components", "deploy", "pyproject.toml", "services", "src",
        ]  # fmt: skip
        assert (folder / "deploy/docker/certificates/machine.crt").read_text() == "a certificate"
        assert (folder / "services/gateway/main.py").exists()
        assert list(folder.rglob("__pycache__")) == []
    with images.context({}) as folder:
        assert list(folder.rglob("*.crt")) == []


def test_a_package_source_reaches_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://packages.example.org/simple")
    told = images.arguments("writer", "example.org/python:3.12")
    assert told["PIP_INDEX_URL"] == "https://packages.example.org/simple"
    assert told["BASE_IMAGE"] == "example.org/python:3.12"
