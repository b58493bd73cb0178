"""Dapr programs that are shell scripts: they answer --version and --help as the real ones do."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.local.versions import BINARIES

FLAVOUR_MARK = "github.com/dapr/components-contrib/conversation/openai"


def fake_program(name: str, version: str, *, flavour: str = FLAVOUR_MARK) -> str:
    """The text of one program; `flavour` is what only daprd of the wanted flavour contains."""
    if name == "daprd":
        body = f"# {flavour}\necho {version}"
    elif name == "dapr":
        body = f"echo 'CLI version: {version} '; echo 'Runtime version: n/a'"
    else:
        body = f"# {version}\necho 'Usage of {name}:' >&2; exit 2"
    return f"#!/bin/sh\n{body}\n"


def write_dapr(
    folder: Path,
    version: str,
    *,
    cli: str = "1.16.5",
    flavour: str = FLAVOUR_MARK,
    names: Sequence[str] = BINARIES,
) -> Path:
    """Put programs into a folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        program = folder / name
        program.write_text(fake_program(name, cli if name == "dapr" else version, flavour=flavour))
        program.chmod(0o755)
    return folder


def bare_machine(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Make this process see a machine without Dapr and without Go; returns its folder of programs on the PATH."""
    programs = folder / "programs"
    programs.mkdir()
    for name in ("HOME", "XDG_CACHE_HOME"):
        (folder / name.lower()).mkdir()
        monkeypatch.setenv(name, str(folder / name.lower()))
    for name in [name for name in os.environ if name.startswith(("DOVECOTE_", "GO"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", str(programs))
    return programs
