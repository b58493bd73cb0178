"""Helm: found on the PATH or in the cache, else got."""

import os
from pathlib import Path

import httpx
import pytest

from deploy.local import helm
from deploy.local.archive import platform_name
from deploy.local.dapr_chart import find_dapr_chart
from deploy.local.errors import LauncherError
from deploy.local.progress import Progress
from deploy.local.versions import NotAvailableError
from tests.support.fake_dapr import bare_machine
from tests.support.fake_go import FakeGo
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


def test_where_no_archive_is_to_be_had_it_is_built_where_its_checksums_hold(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = FakeGo(machine).write()
    built = put(machine / "go-data" / "programs" / "helm", f"v{helm.HELM.preferred}")
    with release_site() as site:
        monkeypatch.setattr(helm, "_SITE", httpx.URL(site.address))
        found = helm.find_helm(progress())
    assert found.read_bytes() == built.read_bytes()
    (call,) = go.calls("build")
    assert call.arguments[-1] == "./cmd/helm"
    assert f"internal/version.version=v{helm.HELM.preferred}" in " ".join(call.arguments)
    assert not (found.parents[1] / "staging" / "build").exists()


def test_daprs_chart_is_fetched_once_and_has_its_version(machine: Path) -> None:
    go = FakeGo(machine).write()
    modules = Path(os.environ["XDG_CACHE_HOME"]) / "dovecote" / "dapr-chart" / "staging" / "modules"
    chart = modules / "github.com" / "dapr" / "dapr" / "charts" / "dapr"
    chart.mkdir(parents=True)
    (chart / "Chart.yaml").write_text("appVersion: '0.0.0'\nversion: '0.0.0'\n")
    (chart / "values.yaml").write_text("global:\n  registry: ghcr.io/dapr\n  tag: 'edge'\n")
    found = find_dapr_chart(progress())
    assert find_dapr_chart(progress()) == found
    assert len(go.calls("mod")) == 1
    assert (found / "Chart.yaml").read_text() == 'appVersion: "1.18.2"\nversion: "1.18.2"\n'
    assert (found / "values.yaml").read_text() == 'global:\n  registry: ghcr.io/dapr\n  tag: "1.18.2"\n'


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
