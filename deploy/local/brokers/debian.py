"""Servers as Debian packages, where there is nothing of them yet and the launcher may install."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.local.errors import MissingServerError
from deploy.local.progress import Progress, Step

_POLICY = Path("/usr/sbin/policy-rc.d")
_INSTALL = ("apt-get", "install", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300")
_UPDATE = ("apt-get", "update")
_SHOWN = 60


def can_install() -> bool:
    """Say whether this is Debian, or one of its kin, and the launcher runs as root."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(packages: Sequence[str], progress: Progress) -> None:
    """Install packages; what they bring as services of the machine is not started.

    Raises MissingServerError with apt's last words.
    """
    with progress.step(f"Installing {', '.join(packages)}") as step, _services_not_started():
        if _run((*_INSTALL, *packages), step) is not None:
            _run(_UPDATE, step)
            if (words := _run((*_INSTALL, *packages), step)) is not None:
                raise MissingServerError(f"apt-get cannot install {' '.join(packages)}:\n{words}")


def _run(command: Sequence[str], step: Step) -> str | None:
    """The last lines that a command has written if it failed, else None."""
    words: list[str] = []
    with subprocess.Popen(  # noqa: S603 - the command is one of those above
        command,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            words = [*words[-5:], line.rstrip()]
            step.update(detail=line.strip()[:_SHOWN])
    return "\n".join(words) if process.returncode else None


@contextmanager
def _services_not_started() -> Iterator[None]:
    """Deny packages to start services while this process lives; a policy that is there already stays."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text(f"#!/bin/sh\nkill -0 {os.getpid()} 2>/dev/null && exit 101\nexit 0\n", encoding="utf-8")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
