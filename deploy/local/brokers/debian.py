"""Servers as Debian packages, where there is nothing of them yet and the launcher may install."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.local.commands import failure
from deploy.local.errors import MissingServerError
from deploy.local.progress import Progress

_POLICY = Path("/usr/sbin/policy-rc.d")
_INSTALL = ("apt-get", "install", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300")
_UPDATE = ("apt-get", "update")
_ENV = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}


def can_install() -> bool:
    """Say whether this is Debian, or one of its kin, and the launcher runs as root."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(packages: Sequence[str], progress: Progress) -> None:
    """Install packages; what they bring as services of the machine is not started.

    Raises MissingServerError with apt's last words.
    """
    with progress.step(f"Installing {', '.join(packages)}") as step, _services_not_started():
        if failure((*_INSTALL, *packages), step, _ENV) is not None:
            failure(_UPDATE, step, _ENV)
            if (words := failure((*_INSTALL, *packages), step, _ENV)) is not None:
                raise MissingServerError(f"apt-get cannot install {' '.join(packages)}:\n{words}")


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
