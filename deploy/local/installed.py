"""Dapr that somebody has installed already."""

import os
import shutil
from pathlib import Path

from deploy.local.versions import BINARIES, NotAvailableError, Versions, examine


def in_home(home: Path) -> tuple[dict[str, Path], Versions]:
    """The binaries in a folder that the user named: in `.dapr/bin`, in `bin` or in the folder itself.

    Only the dapr CLI may come from the PATH instead, because `dapr init` does not put it beside the rest.
    Raises `NotAvailableError` if they are not all there or do not fit.
    """
    folders = [home / ".dapr" / "bin", home / "bin", home]
    binaries = _locate(folders)
    if "daprd" not in binaries:
        raise NotAvailableError(f"no daprd in {home}")
    elsewhere = _locate(_search_path())
    if "dapr" in elsewhere:
        binaries.setdefault("dapr", elsewhere["dapr"])
    return binaries, examine(binaries)


def on_this_machine() -> tuple[dict[str, Path], Versions]:
    """The binaries in `~/.dapr/bin` and on the PATH.

    Raises `NotAvailableError` if they are not all there or do not fit.
    """
    binaries = _locate([Path.home() / ".dapr" / "bin", *_search_path()])
    if "daprd" not in binaries:
        raise NotAvailableError("no daprd on the PATH or in ~/.dapr/bin")
    try:
        return binaries, examine(binaries)
    except NotAvailableError as error:
        raise NotAvailableError(f"found {binaries['daprd']}, but: {error}") from error


def _search_path() -> list[Path]:
    return [Path(entry) for entry in os.get_exec_path() if entry]


def _locate(folders: list[Path]) -> dict[str, Path]:
    search = os.pathsep.join(map(str, folders))
    found = {name: shutil.which(name, path=search) for name in BINARIES}
    return {name: Path(place).absolute() for name, place in found.items() if place}
