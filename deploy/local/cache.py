"""The user's folder of Dapr runtimes: one folder a version, filled once, by one run at a time."""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.local.progress import Progress
from deploy.local.versions import BINARIES, DAPR, NotAvailableError, Versions, verify

_MANIFEST = "runtime.json"
_RETRY_SECONDS = 0.25
# `dapr run` reads this file when it is given no other, and stops when there is none.
_CONFIGURATION = """\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: default
spec: {}
"""


class Manifest(BaseModel):
    """What a stored runtime is and where it came from; written last, so its presence means complete."""

    model_config = ConfigDict(frozen=True)

    version: str
    cli_version: str
    origin: str
    sizes: dict[str, int]


def cache_folder() -> Path:
    """The folder that holds all runtimes of this user: below `$XDG_CACHE_HOME`, else `~/.cache`."""
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    root = configured if configured.is_absolute() else Path.home() / ".cache"
    return root / "dovecote" / "dapr"


def binary_folder(home: Path) -> Path:
    """Where the dapr CLI looks for binaries when `home` is its `DAPR_RUNTIME_PATH`."""
    return home / ".dapr" / "bin"


def find_stored(folder: Path) -> tuple[Path, Manifest]:
    """The newest stored runtime that fits: its home and its manifest.

    Raises `NotAvailableError` with what is wrong with each stored one, or that there is none.
    """
    reasons = []
    for path in sorted(folder.glob(f"*/{_MANIFEST}"), key=_by_version, reverse=True):
        try:
            return path.parent, _check_stored(path.parent)
        except NotAvailableError as error:
            reasons.append(str(error))
    raise NotAvailableError("; ".join(reasons) or f"nothing stored in {folder}")


def store(staged: Path, folder: Path, versions: Versions, origin: str) -> Path:
    """Turn a staged home, binaries in place, into the stored runtime of its version; return its home.

    The rename is the last step, so that a run that is killed leaves either nothing or all of it.
    """
    _complete_home(staged)
    sizes = {name: (binary_folder(staged) / name).stat().st_size for name in BINARIES}
    manifest = Manifest(version=versions.dapr, cli_version=versions.cli, origin=origin, sizes=sizes)
    (staged / _MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    home = folder / versions.dapr
    if home.exists():
        shutil.rmtree(home)
    staged.replace(home)
    return home


def link(binaries: Mapping[str, Path], folder: Path) -> Path:
    """A home of links to binaries that lie elsewhere; the same binaries always get the same home."""
    places = "\n".join(str(binaries[name]) for name in BINARIES)
    home = folder / "installed" / hashlib.sha256(places.encode()).hexdigest()[:12]
    binary_folder(home).mkdir(parents=True, exist_ok=True)
    for name in BINARIES:
        place = binary_folder(home) / name
        fresh = place.with_name(f".{name}.{os.getpid()}")
        fresh.symlink_to(binaries[name])
        fresh.replace(place)
    _complete_home(home)
    return home


class Lock:
    """Held while Dapr is being fetched or built; tells those who wait what for."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def say(self, what: str) -> None:
        """Say what the holder is doing, as the end of the sentence 'process 12 is ...'."""
        self._file.seek(0)
        self._file.truncate()
        self._file.write(f"process {os.getpid()} is {what}")
        self._file.flush()


@contextmanager
def locked(folder: Path, progress: Progress, what: str = "Dapr") -> Iterator[Lock]:
    """Hold the lock of the folder for `what`; wait for it, saying for whom, while another run holds it.

    The kernel lets go of it when its holder dies, however it dies.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lock"
    with path.open("a+", encoding="utf-8") as file:
        if not _try_lock(file):
            with progress.step(f"Waiting for another run that gets {what}") as step:
                while not _try_lock(file):
                    step.update(detail=path.read_text(encoding="utf-8"))
                    time.sleep(_RETRY_SECONDS)
        lock = Lock(file)
        lock.say(f"looking for {what}")
        yield lock


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _by_version(manifest: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in manifest.parent.name.split(".") if part.isdigit())


def _check_stored(home: Path) -> Manifest:
    try:
        manifest = Manifest.model_validate_json((home / _MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        raise NotAvailableError(f"{home / _MANIFEST} cannot be read ({error})") from error
    DAPR.require(str(home), manifest.version)
    for name in BINARIES:
        binary = binary_folder(home) / name
        if not binary.is_file() or binary.stat().st_size != manifest.sizes.get(name):
            raise NotAvailableError(f"{binary} is damaged")
    verify("daprd", binary_folder(home) / "daprd", manifest.version)
    return manifest


def _complete_home(home: Path) -> None:
    (home / ".dapr" / "components").mkdir(exist_ok=True)
    (home / ".dapr" / "config.yaml").write_text(_CONFIGURATION, encoding="utf-8")
