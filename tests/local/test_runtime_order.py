import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from deploy.local.cache import cache_folder
from deploy.local.progress import Progress
from deploy.local.runtime import Runtime, RuntimeUnavailableError, get_runtime, main
from deploy.local.versions import BINARIES
from tests.support.fake_dapr import bare_machine, fake_program, write_dapr
from tests.support.fake_go import FakeGo
from tests.support.release_site import ReleaseSite, release_site
from tests.support.watched_output import WatchedOutput


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder on the PATH of a machine that has nothing and reaches nothing."""
    folder = bare_machine(monkeypatch, tmp_path)
    FakeGo(folder, fail={"module": "dial tcp: lookup proxy: no such host"}).write()
    with release_site() as closed:
        monkeypatch.setenv("DOVECOTE_DAPR_MIRROR", closed.address)
    return folder


@pytest.fixture
def site(programs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReleaseSite]:
    """A mirror that the machine reaches."""
    with release_site() as running:
        # Only the mirror's own checksums: those that are kept are of the real archives.
        monkeypatch.setattr("deploy.local.archive._kept_checksums", dict)
        monkeypatch.setenv("DOVECOTE_DAPR_MIRROR", running.address)
        running.publish()
        yield running


@pytest.fixture
def output() -> WatchedOutput:
    return WatchedOutput()


def get(output: WatchedOutput) -> Runtime:
    return get_runtime(Progress(output.console()))


def version_of(runtime: Runtime) -> str:
    return subprocess.check_output([runtime.daprd, "--version"], text=True).strip()


def test_a_release_is_fetched_once_and_said_in_one_line(site: ReleaseSite, output: WatchedOutput) -> None:
    first = get(output)
    home = cache_folder() / "1.18.3"
    assert first == Runtime("1.18.3", "1.16.5", home, "release archives from 127.0.0.1")
    assert output.lines[-1] == f"Dapr 1.18.3 (CLI 1.16.5): release archives from 127.0.0.1, in {home}"
    assert version_of(first) == "1.18.3"
    assert not (cache_folder() / "staging").exists()
    site.asked.clear()
    again = WatchedOutput()
    second = get(again)
    assert (second.home, second.version) == (first.home, first.version)
    assert again.lines == [f"Dapr 1.18.3 (CLI 1.16.5): release archives from 127.0.0.1, stored earlier, in {home}"]
    assert not site.asked


def test_the_home_is_shaped_as_the_dapr_cli_wants_it(site: ReleaseSite, output: WatchedOutput) -> None:
    runtime = get(output)
    assert runtime.daprd == runtime.home / ".dapr" / "bin" / "daprd"
    places = [runtime.daprd, runtime.placement, runtime.scheduler, runtime.sentry, runtime.dapr]
    assert [place.name for place in places] == list(BINARIES)
    assert all(os.access(place, os.X_OK) for place in places)
    assert "kind: Configuration" in (runtime.home / ".dapr" / "config.yaml").read_text()
    assert (runtime.home / ".dapr" / "components").is_dir()


def test_dapr_on_the_path_is_used_before_anything_is_fetched(
    programs: Path, site: ReleaseSite, output: WatchedOutput
) -> None:
    write_dapr(programs, "1.18.2", names=("daprd", "dapr"))
    write_dapr(Path.home() / ".dapr" / "bin", "1.18.2", names=("placement", "scheduler", "sentry"))
    runtime = get(output)
    assert runtime.origin == f"installed as {programs / 'daprd'}"
    assert runtime.daprd.resolve() == programs / "daprd"
    assert version_of(runtime) == "1.18.2"
    assert get(output).home == runtime.home
    assert not site.asked


@pytest.mark.parametrize("missing", BINARIES)
def test_an_installation_that_lacks_a_program_is_passed_over(
    programs: Path, site: ReleaseSite, output: WatchedOutput, missing: str
) -> None:
    write_dapr(programs, "1.18.2", names=[name for name in BINARIES if name != missing])
    assert get(output).version == "1.18.3"


def test_an_old_installation_is_passed_over_for_a_stored_runtime(
    programs: Path, site: ReleaseSite, output: WatchedOutput
) -> None:
    stored = get(output)
    write_dapr(programs, "1.15.0")
    assert get(output).home == stored.home


@pytest.mark.parametrize("below", [".", "bin", ".dapr/bin"])
def test_a_named_home_wins(
    programs: Path, output: WatchedOutput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    write_dapr(programs, "1.18.3")
    write_dapr(tmp_path / "named" / below, "1.18.2")
    monkeypatch.setenv("DOVECOTE_DAPR_HOME", str(tmp_path / "named"))
    runtime = get(output)
    assert (runtime.version, runtime.origin) == ("1.18.2", f"installed in {tmp_path / 'named'}")
    assert version_of(runtime) == "1.18.2"


def test_a_named_home_may_leave_the_cli_to_the_path(
    programs: Path, output: WatchedOutput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dapr(programs, "1.18.2", names=["dapr"])
    write_dapr(tmp_path / "named", "1.18.2", names=[name for name in BINARIES if name != "dapr"])
    monkeypatch.setenv("DOVECOTE_DAPR_HOME", str(tmp_path / "named"))
    assert get(output).dapr.resolve() == programs / "dapr"


def test_a_named_home_that_does_not_fit_is_an_error_and_not_passed_over(
    programs: Path, output: WatchedOutput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dapr(programs, "1.18.3")
    write_dapr(tmp_path / "named", "1.15.0")
    monkeypatch.setenv("DOVECOTE_DAPR_HOME", str(tmp_path / "named"))
    with pytest.raises(RuntimeUnavailableError, match=r"DOVECOTE_DAPR_HOME is '.*named'.*version '1\.15\.0'"):
        get(output)


def test_a_named_home_without_dapr_is_an_error(
    programs: Path, output: WatchedOutput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dapr(programs, "1.18.3")
    monkeypatch.setenv("DOVECOTE_DAPR_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(RuntimeUnavailableError, match=r"no daprd in .*nowhere.*unset DOVECOTE_DAPR_HOME"):
        get(output)


def test_where_no_archive_is_reached_it_is_built_from_source(programs: Path, output: WatchedOutput) -> None:
    FakeGo(programs).write()
    runtime = get(output)
    assert (runtime.version, runtime.origin) == ("1.18.2", "built from source")
    assert any("release archives: " in line and "Connection refused" in line for line in output.lines)
    assert any("about 15 minutes" in line and "10 GB" in line for line in output.lines)
    assert not (cache_folder() / "staging").exists()


def test_archives_of_another_flavour_are_not_kept(site: ReleaseSite, output: WatchedOutput) -> None:
    site.publish(flavour="stablecomponents")
    with pytest.raises(RuntimeUnavailableError, match=r"release archives: .*not of the flavour allcomponents"):
        get(output)
    site.publish()
    assert get(output).version == "1.18.3"


def test_what_was_tried_and_what_can_be_done_is_one_error(programs: Path, output: WatchedOutput) -> None:
    write_dapr(programs, "1.15.0")
    with pytest.raises(RuntimeUnavailableError) as caught:
        get(output)
    text = str(caught.value)
    for reason in (
        "- installed: found ",
        "- stored by an earlier run: nothing stored",
        "- release archives: http://127.0.0.1:",
        "- build from source: `go mod` failed: dial tcp: lookup proxy: no such host",
        "1. Install daprd, placement, scheduler, sentry, dapr and set DOVECOTE_DAPR_HOME",
        "2. Set DOVECOTE_DAPR_MIRROR to a mirror of https://github.com",
        "3. Let this machine reach a Go module proxy (GOPROXY)",
    ):
        assert reason in text


def test_a_way_that_cannot_write_is_one_of_the_reasons(site: ReleaseSite, output: WatchedOutput) -> None:
    cache_folder().mkdir(parents=True)
    (cache_folder() / "staging").write_text("in the way")
    with pytest.raises(RuntimeUnavailableError) as caught:
        get(output)
    for way in ("release archives", "build from source"):
        assert f"- {way}: [Errno 20] Not a directory" in str(caught.value)


@pytest.mark.parametrize("damage", ["truncated", "removed", "replaced", "manifest"])
def test_a_damaged_stored_runtime_is_replaced(site: ReleaseSite, output: WatchedOutput, damage: str) -> None:
    runtime = get(output)
    if damage == "truncated":
        runtime.sentry.write_bytes(runtime.sentry.read_bytes()[:-1])
    elif damage == "removed":
        runtime.scheduler.unlink()
    elif damage == "replaced":
        runtime.daprd.write_text(fake_program("daprd", "1.18.9"))
    else:
        (runtime.home / "runtime.json").write_text("{}")
    site.asked.clear()
    assert version_of(get(output)) == "1.18.3"
    assert site.asked


def test_the_newest_stored_runtime_is_used(site: ReleaseSite, output: WatchedOutput) -> None:
    newest = get(output)
    older = cache_folder() / "1.18.2"
    shutil.copytree(newest.home, older)
    write_dapr(older / ".dapr" / "bin", "1.18.2")
    manifest = json.loads((older / "runtime.json").read_text())
    (older / "runtime.json").write_text(json.dumps(manifest | {"version": "1.18.2"}))
    assert get(output).home == newest.home
    newest.dapr.unlink()
    assert get(output).home == older


def test_a_cache_folder_that_cannot_be_made_is_an_error_with_a_mend(
    site: ReleaseSite, output: WatchedOutput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(RuntimeUnavailableError, match="Set XDG_CACHE_HOME to a folder that can be written"):
        get(output)


def test_the_cache_lies_below_the_home_folder_by_default(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for unusable in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", unusable)
        assert cache_folder() == Path.home() / ".cache" / "dovecote" / "dapr"


def test_of_two_runs_at_once_one_fetches_and_the_other_waits_and_says_for_what(
    site: ReleaseSite, output: WatchedOutput
) -> None:
    let_go = threading.Event()
    begun = threading.Event()
    path = site.path_of("sentry")

    def slow(request: BaseHTTPRequestHandler) -> None:
        del site.answers[path]
        begun.set()
        assert let_go.wait(20)
        request.send_response(200)
        request.end_headers()
        request.wfile.write(site.files[path])

    site.answers[path] = slow
    runtimes: list[Runtime] = []
    first = threading.Thread(target=lambda: runtimes.append(get(WatchedOutput())))
    first.start()
    assert begun.wait(20)
    waiting = Progress(output.console(), interval=0.05)
    second = threading.Thread(target=lambda: runtimes.append(get_runtime(waiting)))
    second.start()
    output.wait_for(f"Waiting for another run that gets Dapr: process {os.getpid()} is downloading Dapr 1.18.3")
    let_go.set()
    for thread in (first, second):
        thread.join(20)
    assert len({runtime.home for runtime in runtimes}) == 1
    assert len(runtimes) == 2
    assert site.asked.count(path) == 1


def test_a_run_that_was_killed_while_downloading_is_gone_on_with(
    site: ReleaseSite, output: WatchedOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()
    let_go = threading.Event()
    path = site.path_of("sentry")

    def stall(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(site.files[path][:10])
        begun.set()
        let_go.wait(20)

    site.answers[path] = stall
    script = "import deploy.local.archive as a, deploy.local.runtime as r; a._kept_checksums = dict; r.main([])"
    run = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    assert begun.wait(20)
    run.send_signal(signal.SIGKILL)
    run.wait(10)
    let_go.set()
    assert not list(cache_folder().glob("1.*"))
    del site.answers[path]
    site.asked.clear()
    assert version_of(get(output)) == "1.18.3"
    archives = [asked for asked in site.asked if not asked.endswith(".sha256")]
    assert archives == [path, site.path_of("dapr")]


def test_the_command_prints_the_programs_and_on_request_json(
    site: ReleaseSite, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 0
    plain = capsys.readouterr()
    home = cache_folder() / "1.18.3"
    assert plain.out.splitlines()[0] == f"daprd      {home / '.dapr' / 'bin' / 'daprd'}"
    assert "release archives from 127.0.0.1" in plain.err
    assert main(["--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["version"] == "1.18.3"
    assert facts["cli_version"] == "1.16.5"
    assert facts["home"] == str(home)
    assert list(facts["binaries"]) == list(BINARIES)


def test_an_interrupted_command_says_that_it_can_be_run_again(
    programs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_progress: Progress) -> Runtime:
        raise KeyboardInterrupt

    monkeypatch.setattr("deploy.local.runtime.get_runtime", interrupted)
    assert main([]) == 130
    assert "the next run goes on from here" in capsys.readouterr().err


def test_the_command_fails_with_the_explanation(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    captured = capsys.readouterr()
    assert "What you can do" in captured.err
    assert not captured.out
