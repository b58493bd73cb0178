"""Which container engine is used, and what is said where none can be."""

import os
from pathlib import Path

import pytest

from deploy.local.errors import MissingServerError
from deploy.local.progress import Progress
from tests.support.containers import lacking
from tests.support.images.debian import usable_engine
from tests.support.watched_output import WatchedOutput


@pytest.fixture(autouse=True)
def no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")


def test_where_nobody_answers_that_is_the_reason() -> None:
    assert (lacking("redis:7") or "").startswith("no container engine answers")


def test_who_is_not_root_is_told_why_there_are_no_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with (
        pytest.raises(
            MissingServerError, match=r"no container engine answers \(.*\), and only root can start another"
        ),
        usable_engine(Progress(WatchedOutput().console())),
    ):
        pass


def test_an_engine_that_does_not_start_says_why_and_leaves_the_address_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "dockerd"
    broken.write_text("#!/bin/sh\necho no room for images >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = os.environ["DOCKER_HOST"]
    with (
        pytest.raises(MissingServerError, match=r"does not start:\nno room for images"),
        usable_engine(Progress(WatchedOutput().console())),
    ):
        pass
    assert os.environ["DOCKER_HOST"] == before
