from pathlib import Path

import pytest

from deploy.local.versions import BINARIES, NotAvailableError, Versions, examine
from tests.support.fake_dapr import fake_program, write_dapr


def examined(folder: Path) -> Versions:
    return examine({name: folder / name for name in BINARIES})


@pytest.mark.parametrize("version", ["1.18.2", "1.18.3", "1.18.40"])
def test_a_complete_set_of_a_version_that_fits_is_accepted(tmp_path: Path, version: str) -> None:
    assert examined(write_dapr(tmp_path, version)) == Versions(version, "1.16.5")


@pytest.mark.parametrize("version", ["1.18.1", "1.19.0", "1.2.30", "edge", "1.18.3-rc.1", ""])
def test_a_runtime_of_another_version_is_refused(tmp_path: Path, version: str) -> None:
    with pytest.raises(NotAvailableError, match=r"must be at least 1\.18\.2 and below 1\.19\.0"):
        examined(write_dapr(tmp_path, version))


def test_an_old_command_line_interface_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotAvailableError, match=r"dapr has version '1.15.0', but it must be at least 1.16.5"):
        examined(write_dapr(tmp_path, "1.18.2", cli="1.15.0"))


def test_the_stable_flavour_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotAvailableError, match="not of the flavour allcomponents"):
        examined(write_dapr(tmp_path, "1.18.2", flavour="stablecomponents"))


def test_missing_programs_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotAvailableError, match=r"^placement, sentry missing$"):
        examine({name: tmp_path / name for name in ("daprd", "scheduler", "dapr")})


def test_a_foreign_program_of_the_same_name_is_refused(tmp_path: Path) -> None:
    sentry = write_dapr(tmp_path, "1.18.2") / "sentry"
    sentry.write_text("#!/bin/sh\necho error tracker 1.18.2\n")
    with pytest.raises(NotAvailableError, match=f"{sentry} is not Dapr's sentry"):
        examined(tmp_path)


def test_programs_of_two_versions_do_not_fit_together(tmp_path: Path) -> None:
    write_dapr(tmp_path, "1.18.3")
    (tmp_path / "scheduler").write_text(fake_program("scheduler", "1.18.2"))
    with pytest.raises(NotAvailableError, match=r"scheduler has version another, not 1\.18\.3"):
        examined(tmp_path)


def test_a_program_for_another_machine_is_refused(tmp_path: Path) -> None:
    (write_dapr(tmp_path, "1.18.2") / "daprd").write_bytes(b"\x7fELF of another machine")
    with pytest.raises(NotAvailableError, match="daprd does not run here"):
        examined(tmp_path)
