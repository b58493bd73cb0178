import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deploy.local import source
from deploy.local.progress import Progress
from deploy.local.source import GoCaches, build_from_source
from deploy.local.versions import BINARIES, NotAvailableError, Versions, examine
from tests.support.fake_dapr import bare_machine
from tests.support.fake_go import FakeGo
from tests.support.watched_output import WatchedOutput


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeGo:
    return FakeGo(bare_machine(monkeypatch, tmp_path)).write()


def build(tmp_path: Path, caches: GoCaches | None = None, output: WatchedOutput | None = None) -> Path:
    into = tmp_path / "into"
    progress = Progress((output or WatchedOutput()).console())
    build_from_source(into, tmp_path / "work", progress, caches)
    return into


def test_a_build_leaves_a_complete_set_and_nothing_else(go: FakeGo, tmp_path: Path) -> None:
    output = WatchedOutput()
    into = build(tmp_path, output=output)
    assert examine({name: into / name for name in BINARIES}) == Versions("1.18.2", "1.16.5")
    assert sorted(file.name for file in into.iterdir()) == sorted(BINARIES)
    assert not (tmp_path / "work").exists()
    assert output.lines[-1].startswith("Removing what only the build needed: done in ")


def test_each_program_is_built_where_its_checksums_hold(go: FakeGo, tmp_path: Path) -> None:
    build(tmp_path)
    daprd, *_, cli = go.calls("build")
    assert daprd.arguments[-1] == "./cmd/daprd"
    assert daprd.arguments[daprd.arguments.index("-tags") + 1] == "allcomponents"
    assert "github.com/dapr/dapr/pkg/buildinfo.version=1.18.2" in " ".join(daprd.arguments)
    assert cli.arguments[-1] == "github.com/dapr/cli"
    assert "-X main.version=1.16.5" in " ".join(cli.arguments)


def test_what_is_done_and_how_far_is_shown(go: FakeGo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        "deploy.local.progress.Step.update", lambda step, *state, **_: seen.append((step.title, state))
    )
    output = WatchedOutput()
    build(tmp_path, output=output)
    assert ("Building daprd 1.18.2 from source", (3, 3, "packages, linking")) not in seen
    assert [state for title, state in seen if title.startswith("Building daprd")] == [
        (0, 3, "packages"),
        (1,),
        (2,),
        (3,),
    ]
    assert [state[:2] for title, state in seen if title.startswith("Building sentry")] == [(0, 1), (1,)]
    assert any(line.startswith("Building dapr 1.16.5 from source: done in ") for line in output.lines)


def test_settings_for_other_builds_do_not_reach_this_one(
    go: FakeGo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "GOOS": "plan9",
        "GOFLAGS": "-mod=vendor",
        "CGO_ENABLED": "1",
        "GOPROXY": "https://me",
    }.items():
        monkeypatch.setenv(name, value)
    build(tmp_path)
    environment = go.calls("build")[0].environment
    assert "GOOS" not in environment
    assert environment["CGO_ENABLED"] == "0"
    assert environment["GOFLAGS"] == "-modcacherw -buildvcs=false"
    assert environment["GOPROXY"] == "https://me"
    for name in ("GOMODCACHE", "GOCACHE", "GOTMPDIR"):
        assert Path(environment[name]).parent == tmp_path / "work"


def test_ready_caches_are_used_and_kept(go: FakeGo, tmp_path: Path) -> None:
    caches = GoCaches(tmp_path / "modules", tmp_path / "builds")
    build(tmp_path, caches)
    assert go.calls("build")[0].environment["GOCACHE"] == str(caches.builds)
    assert (caches.builds / "daprd").exists()
    assert not (tmp_path / "work").exists()


def test_a_failed_build_says_why_and_keeps_what_was_finished(go: FakeGo, tmp_path: Path) -> None:
    go.fail = {"scheduler": "write /x: no space left on device"}
    go.write()
    with pytest.raises(NotAvailableError, match=r"`go build` failed: write /x: no space left on device"):
        build(tmp_path)
    assert sorted(file.name for file in (tmp_path / "into").iterdir()) == ["daprd", "placement"]
    assert not (tmp_path / "work").exists()
    go.fail = {}
    go.write()
    build(tmp_path)
    assert go.built() == ["daprd", "placement", "scheduler", "scheduler", "sentry", "dapr"]


def test_a_finished_program_that_was_damaged_is_built_again(go: FakeGo, tmp_path: Path) -> None:
    into = build(tmp_path)
    (into / "sentry").write_bytes(b"")
    build(tmp_path)
    assert go.built() == [*BINARIES, "sentry"]


def test_a_closed_module_proxy_is_a_reason(go: FakeGo, tmp_path: Path) -> None:
    go.fail = {"module": "dial tcp: lookup proxy: no such host"}
    go.write()
    with pytest.raises(NotAvailableError, match="`go mod` failed: dial tcp: lookup proxy: no such host"):
        build(tmp_path)


def test_a_program_that_came_out_wrong_is_not_kept(go: FakeGo, tmp_path: Path) -> None:
    (go.folder / "go-data" / "programs" / "daprd").write_text("#!/bin/sh\necho 1.18.2\n")
    with pytest.raises(NotAvailableError, match="not of the flavour allcomponents"):
        build(tmp_path)
    assert not list((tmp_path / "into").iterdir())


def test_too_little_space_is_said_before_anything_is_fetched(
    go: FakeGo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10, 8, 2_500_000_000))
    with pytest.raises(NotAvailableError, match=r"needs 10 GB in .*work.*, but only 2\.5 GB are free"):
        build(tmp_path)
    assert not go.calls("mod")


def test_what_an_earlier_build_left_counts_as_space(
    go: FakeGo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "NEEDED_BYTES", 2000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10, 8, 1000))
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "module").write_bytes(b"m" * 1500)
    assert (build(tmp_path) / "daprd").exists()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_ends_its_compilers_and_cleans_up(
    go: FakeGo, tmp_path: Path, ending: signal.Signals
) -> None:
    run = start_hanging_build(go, tmp_path)
    compilers = psutil.Process(run.pid).children(recursive=True)
    assert compilers
    run.send_signal(ending)
    assert run.wait(20) != 0
    assert not psutil.wait_procs(compilers, timeout=10)[1]
    assert not (tmp_path / "work").exists()
    assert [file.name for file in (tmp_path / "into").iterdir()] == ["daprd"]


def test_a_build_goes_on_after_the_one_before_was_killed(go: FakeGo, tmp_path: Path) -> None:
    run = start_hanging_build(go, tmp_path)
    compilers = psutil.Process(run.pid).children(recursive=True)
    run.kill()
    run.wait(10)
    for compiler in compilers:
        compiler.kill()
    assert (tmp_path / "work" / "builds" / "daprd").exists()
    go.hang = {}
    go.write()
    build(tmp_path)
    assert go.built() == ["daprd", "placement", "placement", "scheduler", "sentry", "dapr"]
    assert not (tmp_path / "work").exists()


def start_hanging_build(go: FakeGo, tmp_path: Path) -> "subprocess.Popen[bytes]":
    """A process that builds and has come to placement, where its compiler hangs."""
    fifo = tmp_path / "hanging"
    os.mkfifo(fifo)
    go.hang = {"placement": str(fifo)}
    go.write()
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"  # a job ignores it
        "from pathlib import Path; from deploy.local.source import build_from_source;"
        "from deploy.local.progress import Progress; from rich.console import Console;"
        "build_from_source(Path(sys.argv[1]), Path(sys.argv[2]), Progress(Console(quiet=True)))"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "into"), str(tmp_path / "work")]
    run = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    assert fifo.read_text() == "hanging"  # waits until somebody writes
    return run
