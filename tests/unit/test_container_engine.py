"""Which container engine is used, and what is said where none can be."""

import os
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from deploy.local.errors import MissingServerError
from deploy.local.progress import Progress
from tests.support import engine
from tests.support.containers import IMAGES, lacking
from tests.support.fake_dockerd import IMAGE, write_dockerd
from tests.support.images.debian import UsableEngine, usable_engine
from tests.support.watched_output import WatchedOutput


@pytest.fixture(autouse=True)
def no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a dockerd of this test, where root would start one, and for all that it leaves behind."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def usable() -> AbstractContextManager[UsableEngine]:
    return usable_engine(Progress(WatchedOutput().console()))


def test_where_nobody_answers_that_is_the_reason() -> None:
    assert (lacking("redis:7") or "").startswith("no container engine answers")


def test_who_is_not_root_is_told_why_there_are_no_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with usable() as found:
        assert found.lacking.keys() == {image.name for image in IMAGES.values()}
        [reason] = set(found.lacking.values())
    assert reason.startswith("no container engine answers (")
    assert reason.endswith("), and only root can start another engine")


def test_an_engine_that_does_not_start_says_why(place: Path) -> None:
    broken = place / "dockerd"
    broken.write_text("#!/bin/sh\necho no room for images >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(MissingServerError, match=r"does not start:\nno room for images"), usable():
        pass
    assert list(place.glob("dovecote-engine-*")) == []


def test_an_image_that_cannot_be_made_is_told_of_and_those_that_are_there_are_used(place: Path) -> None:
    write_dockerd(place)
    with usable() as found:
        assert found.lacking.keys() == {image.name for image in IMAGES.values()} - {IMAGE}
        assert all("cannot be made: 500 " in reason for reason in found.lacking.values())
        assert "the disk is broken" in found.lacking["rabbitmq:3"]


def test_an_engine_that_does_not_end_is_killed_and_told_of(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_STOP_SECONDS", 0.3)
    write_dockerd(place, stubborn=True)
    with pytest.raises(MissingServerError, match=r"did not end in 0.3 s and was killed"), usable() as found:
        assert Path(found.address.removeprefix("unix://")).is_socket()
    assert list(place.glob("dovecote-engine-*")) == []
