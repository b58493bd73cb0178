"""Helm: found on the PATH or in the cache, else got."""

from pathlib import Path

import httpx
import pytest

from deploy.local import helm
from deploy.local.archive import platform_name
from deploy.local.errors import LauncherError
from deploy.local.progress import Progress
from deploy.local.versions import NotAvailableError
from tests.support.fake_dapr import bare_machine
from tests.support.release_site import archive_of, release_site
from tests.support.watched_output import WatchedOutput

ARCHIVE = f"helm-v{helm.HELM.preferred}-{platform_name('-')}.tar.gz"


def program(version: str) -> str:
    return f"#!/bin/sh\necho {version}+g1234\n"


def put(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(program(version))
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder for programs of a machine that has none."""
    return bare_machine(monkeypatch, tmp_path)


def progress() -> Progress:
    return Progress(WatchedOutput().console())


def test_helm_on_the_path_is_used(machine: Path) -> None:
    there = put(machine / "helm", "v3.14.2")
    assert helm.find_helm(progress()) == there


def test_one_that_is_too_old_is_passed_over(machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put(machine / "helm", "v2.17.0")
    cache = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    kept = put(cache / "dovecote" / "helm" / helm.HELM.preferred / "helm", f"v{helm.HELM.preferred}")
    assert helm.find_helm(progress()) == kept


def test_the_release_archive_is_unpacked_once(
    machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with release_site() as site:
        monkeypatch.setattr(helm, "_SITE", httpx.URL(site.address))
        content = program(f"v{helm.HELM.preferred}").encode()
        site.put(ARCHIVE, archive_of(f"{platform_name('-')}/helm", content))
        found = helm.find_helm(progress())
        asked = len(site.asked)
        assert helm.find_helm(progress()) == found
        assert len(site.asked) == asked
    assert found.read_bytes() == content


def test_where_it_cannot_be_had_all_ways_are_named(
    machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_go(*_: object) -> Path:
        raise NotAvailableError("there is no Go")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("deploy.local.source.find_go", no_go)
    with release_site() as site:
        monkeypatch.setattr(helm, "_SITE", httpx.URL(site.address))
        with pytest.raises(LauncherError, match=r"answered 404.*there is no Go.*install it"):
            helm.find_helm(progress())
