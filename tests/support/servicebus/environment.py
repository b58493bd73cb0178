"""The Python that the stand-in runs on: its AMQP library is compiled, which nobody else needs."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.local.cache import cache_folder, locked
from deploy.local.errors import MissingServerError
from deploy.local.progress import Progress

_HERE = Path(__file__).parent
# What compiles the library is installed first, so that nothing that is not pinned compiles it.
_STEPS = (("build.lock", ()), ("requirements.lock", ("--no-build-isolation",)))
_MEND = "it needs a C compiler and Python's headers (Debian: apt install gcc python3-dev python3-venv)"


def interpreter(progress: Progress) -> Path:
    """Return the Python that has the AMQP library; the first call for each user of the machine builds it.

    Raises MissingServerError with the last words of what failed.
    """
    locks = b"".join((_HERE / name).read_bytes() for name, _ in _STEPS)
    mark = hashlib.sha256(locks + sys.version.encode()).hexdigest()[:12]
    cache = cache_folder().parent / "amqp"
    folder = cache / mark
    if not folder.exists():
        with locked(cache, progress, "the AMQP library"):
            if not folder.exists():
                _build(folder, progress)
    return folder / "bin" / "python"


def _build(folder: Path, progress: Progress) -> None:
    staged = folder.with_suffix(".partial")
    shutil.rmtree(staged, ignore_errors=True)
    python = str(staged / "bin" / "python")
    with progress.step("Compiling the AMQP library of the stand-in for Service Bus (half a minute)"):
        _run([sys.executable, "-m", "venv", str(staged)])
        for lock, options in _STEPS:
            install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            _run([*install, *options, "--require-hashes", "--requirement", str(_HERE / lock)])
        _run([python, "-c", "import proton"])
    staged.replace(folder)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        words = "\n".join((done.stdout + done.stderr).strip().splitlines()[-6:])
        raise MissingServerError(f"the AMQP library cannot be built: {_MEND}\n{words}")
