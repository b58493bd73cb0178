import tarfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest

from deploy.local import archive
from deploy.local.progress import Progress
from deploy.local.versions import BINARIES, NotAvailableError
from tests.support.fake_dapr import fake_program
from tests.support.release_site import ReleaseSite, altered, archive_of, release_site
from tests.support.watched_output import WatchedOutput


@pytest.fixture
def site() -> Iterator[ReleaseSite]:
    with release_site() as running:
        running.publish()
        yield running


def fetch(site: ReleaseSite, folder: Path, known: dict[str, str] | None = None, address: str = "") -> Path:
    into = folder / "binaries"
    progress = Progress(WatchedOutput().console())
    archive.fetch_release(into, folder / "archives", progress, httpx.URL(address or site.address), known or {})
    return into


def test_a_release_is_unpacked_and_its_programs_can_be_run(site: ReleaseSite, tmp_path: Path) -> None:
    into = fetch(site, tmp_path)
    assert sorted(file.name for file in into.iterdir()) == sorted(BINARIES)
    assert (into / "daprd").read_text() == fake_program("daprd", "1.18.3")
    assert all(file.stat().st_mode & 0o777 == 0o755 for file in into.iterdir())


def test_a_truncated_archive_is_refused(site: ReleaseSite, tmp_path: Path) -> None:
    path = site.path_of("scheduler")
    site.files[path] = site.files[path][:-20]
    with pytest.raises(NotAvailableError, match=r"scheduler_.*gz is truncated or altered"):
        fetch(site, tmp_path)
    assert not list((tmp_path / "archives").glob("scheduler*"))


def test_a_connection_that_breaks_off_is_a_reason(site: ReleaseSite, tmp_path: Path) -> None:
    def break_off(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        request.wfile.write(b"half")

    site.answers[site.path_of("daprd")] = break_off
    with pytest.raises(NotAvailableError, match=r"daprd_.*gz failed \(.*without sending complete"):
        fetch(site, tmp_path)


def test_a_tampered_archive_is_refused(site: ReleaseSite, tmp_path: Path) -> None:
    path = site.path_of("daprd")
    site.files[path] = altered(site.files[path])
    with pytest.raises(NotAvailableError, match=r"daprd_.*gz is truncated or altered"):
        fetch(site, tmp_path)
    assert not (tmp_path / "binaries" / "daprd").exists()


def test_an_archive_tampered_with_together_with_its_checksum_is_refused_if_known(
    site: ReleaseSite, tmp_path: Path
) -> None:
    path = site.path_of("daprd").removeprefix("/")
    known = {path: site.files[f"/{path}.sha256"].decode().strip()}
    assert fetch(site, tmp_path / "right", known)
    site.put(path, altered(site.files[f"/{path}"]))
    with pytest.raises(NotAvailableError, match=rf"but checksums.txt {known[path]}"):
        fetch(site, tmp_path / "wrong", known)


def test_the_kept_checksums_are_used_by_default(site: ReleaseSite, tmp_path: Path) -> None:
    kept = archive._kept_checksums()
    path = next(artifact.path for artifact in archive.release_artifacts() if artifact.name == "dapr")
    assert all(len(checksum) == 64 for checksum in kept.values())
    assert path in kept
    with pytest.raises(NotAvailableError, match=rf"but checksums.txt {kept[path]}"):
        archive.fetch_release(tmp_path, tmp_path, Progress(WatchedOutput().console()), httpx.URL(site.address))


def test_an_archive_without_a_published_checksum_is_refused(site: ReleaseSite, tmp_path: Path) -> None:
    site.files[f"{site.path_of('sentry')}.sha256"] = b"<html>Please log in</html>"
    with pytest.raises(NotAvailableError, match=r"sentry_.*sha256 is not a checksum"):
        fetch(site, tmp_path)


def test_what_the_site_does_not_have_is_named_and_asked_for_once(site: ReleaseSite, tmp_path: Path) -> None:
    del site.files[f"{site.path_of('placement')}.sha256"]
    with pytest.raises(NotAvailableError, match=r"placement_.*sha256 answered 404"):
        fetch(site, tmp_path)
    assert site.asked.count(f"{site.path_of('placement')}.sha256") == 1


def test_a_link_in_an_archive_is_not_followed(site: ReleaseSite, tmp_path: Path) -> None:
    site.put(site.path_of("daprd").removeprefix("/"), archive_of("daprd", b"", tarfile.SYMTYPE))
    with pytest.raises(NotAvailableError, match="holds no file 'daprd'"):
        fetch(site, tmp_path)


def test_a_member_that_leaves_the_folder_is_not_unpacked(site: ReleaseSite, tmp_path: Path) -> None:
    site.put(site.path_of("daprd").removeprefix("/"), archive_of("../daprd", b"#!/bin/sh\n"))
    with pytest.raises(NotAvailableError, match="holds no file 'daprd'"):
        fetch(site, tmp_path)
    assert not list(tmp_path.rglob("daprd"))


def test_something_else_than_an_archive_is_refused(site: ReleaseSite, tmp_path: Path) -> None:
    site.put(site.path_of("daprd").removeprefix("/"), b"<html>Please log in</html>")
    with pytest.raises(NotAvailableError, match=r"daprd_.*gz is not a readable archive"):
        fetch(site, tmp_path)


def test_a_redirect_is_followed(site: ReleaseSite, tmp_path: Path) -> None:
    def redirect(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", "/elsewhere")
        request.end_headers()

    site.files["/elsewhere"] = site.files[site.path_of("daprd")]
    site.answers[site.path_of("daprd")] = redirect
    assert (fetch(site, tmp_path) / "daprd").exists()


def test_only_a_time_out_is_tried_again(site: ReleaseSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_TIMEOUT", httpx.Timeout(0.2))
    path = f"{site.path_of('daprd')}.sha256"

    def silent_once(request: BaseHTTPRequestHandler) -> None:
        del site.answers[path]
        request.rfile.read()  # until the client gives up

    site.answers[path] = silent_once
    assert (fetch(site, tmp_path) / "daprd").exists()
    assert site.asked.count(path) == 2


def test_a_site_that_stays_silent_is_given_up_soon(
    site: ReleaseSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_TIMEOUT", httpx.Timeout(0.1))
    path = f"{site.path_of('daprd')}.sha256"

    def silent(request: BaseHTTPRequestHandler) -> None:
        request.rfile.read()  # until the client gives up

    site.answers[path] = silent
    with pytest.raises(NotAvailableError, match=r"sha256 failed \(timed out\)"):
        fetch(site, tmp_path)
    assert site.asked == [path, path]


def test_a_closed_network_is_given_up_within_five_seconds() -> None:
    connect = archive._TIMEOUT.connect
    assert connect is not None
    assert connect * archive._ATTEMPTS <= 5


def test_a_site_that_cannot_be_reached_is_a_reason(tmp_path: Path) -> None:
    with release_site() as gone:
        pass
    with pytest.raises(NotAvailableError, match="Connection refused"):
        fetch(gone, tmp_path)


def test_an_address_without_a_scheme_is_refused(site: ReleaseSite, tmp_path: Path) -> None:
    with pytest.raises(NotAvailableError, match=r"'mirror\.example' is not the address of a download site"):
        fetch(site, tmp_path, address="mirror.example")


def test_a_password_in_the_address_is_sent_but_never_shown(site: ReleaseSite, tmp_path: Path) -> None:
    seen = []

    def refuse(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.headers["Authorization"])
        request.send_response(403)
        request.end_headers()

    site.answers[f"{site.path_of('daprd')}.sha256"] = refuse
    with pytest.raises(NotAvailableError, match="answered 403") as caught:
        fetch(site, tmp_path, address=site.address.replace("//", "//me:secret@"))
    assert seen[0].startswith("Basic ")
    assert "secret" not in str(caught.value)


def test_finished_archives_are_not_downloaded_again(site: ReleaseSite, tmp_path: Path) -> None:
    dapr = site.path_of("dapr")
    whole = site.files[dapr]
    site.files[dapr] = whole[:-20]
    with pytest.raises(NotAvailableError, match="truncated"):
        fetch(site, tmp_path)
    site.files[dapr] = whole
    site.asked.clear()
    fetch(site, tmp_path)
    assert [path for path in site.asked if not path.endswith(".sha256")] == [dapr]


@pytest.mark.parametrize(("system", "machine"), [("Windows", "AMD64"), ("Linux", "riscv64")])
def test_a_machine_without_release_archives_is_named(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    with pytest.raises(NotAvailableError, match=f"no release archives for {system.lower()} on {machine.lower()}"):
        archive.release_artifacts()


def test_the_archive_for_an_arm_mac_is_asked_for_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert archive.release_artifacts()[0].path == ("dapr/dapr/releases/download/v1.18.3/daprd_darwin_arm64.tar.gz")
