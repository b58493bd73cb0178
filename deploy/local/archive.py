"""Dapr's official release archives, from their download site or a mirror of it."""

import hashlib
import platform
import re
import shutil
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx

from deploy.local.progress import Progress, Step
from deploy.local.versions import BINARIES, CLI, DAPR, NotAvailableError

DOWNLOAD_SITE = httpx.URL("https://github.com")
# A network that swallows packets costs two attempts of this connect time-out before the next way is tried.
_TIMEOUT = httpx.Timeout(30, connect=2.5)
_ATTEMPTS = 2
_MEGABYTE = 1_000_000
_SYSTEMS = ("linux", "darwin")
_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}

T = TypeVar("T")


@dataclass(frozen=True)
class Artifact:
    """One release archive: the program in it, its path below the download site, and the folder of it inside."""

    name: str
    path: str
    folder: str = ""


def release_artifacts() -> list[Artifact]:
    """The archives of the preferred versions for this operating system and architecture.

    Raises `NotAvailableError` where Dapr publishes none.
    """
    suffix = f"{platform_name('_')}.tar.gz"
    return [Artifact(name, f"{_release(name)}/{name}_{suffix}") for name in BINARIES]


def platform_name(separator: str) -> str:
    """Name this operating system and architecture as releases of Go programs do, such as linux_amd64.

    Raises `NotAvailableError` where there are none.
    """
    system, machine = platform.system().lower(), platform.machine().lower()
    if system not in _SYSTEMS or machine not in _ARCHITECTURES:
        raise NotAvailableError(f"no release archives for {system} on {machine}")
    return f"{system}{separator}{_ARCHITECTURES[machine]}"


def fetch_release(
    into: Path,
    archives: Path,
    progress: Progress,
    site: httpx.URL = DOWNLOAD_SITE,
    known: dict[str, str] | None = None,
) -> None:
    """Put the binaries of the preferred release of Dapr into the folder `into`, as `fetch` does."""
    fetch(release_artifacts(), into, archives, progress, site=site, known=known)


def fetch(  # noqa: PLR0913 - what, where to, where from
    artifacts: Sequence[Artifact],
    into: Path,
    archives: Path,
    progress: Progress,
    *,
    site: httpx.URL,
    known: dict[str, str] | None = None,
) -> None:
    """Put the programs of release archives into the folder `into`.

    `archives` keeps the archives while they come. Each must have the checksum that the site publishes beside it,
    and the one that `known` (path to checksum, by default checksums.txt) has for it. Raises `NotAvailableError` if
    the site cannot be reached, lacks an archive, or serves one that is truncated or altered.
    """
    if site.scheme not in {"http", "https"}:
        raise NotAvailableError(f"{str(site)!r} is not the address of a download site (http:// or https://)")
    credentials = (site.username, site.password) if site.userinfo else None
    site = site.copy_with(username=None, password=None)  # so that no message shows them
    for folder in (into, archives):
        folder.mkdir(parents=True, exist_ok=True)
    known = _kept_checksums() if known is None else known
    names = ", ".join(artifact.name for artifact in artifacts)
    try:
        with httpx.Client(base_url=site, auth=credentials, follow_redirects=True, timeout=_TIMEOUT) as client:
            with progress.step(f"Asking {site} for {names}"):
                checksums = {artifact: _checksum(client, artifact, known) for artifact in artifacts}
            for artifact, checksum in checksums.items():
                with progress.step(f"Downloading {artifact.name}") as step:
                    archive = _download(client, artifact, checksum, archives, step)
                _unpack(archive, artifact, into)
    except httpx.HTTPStatusError as error:
        raise NotAvailableError(f"{error.request.url} answered {error.response.status_code}") from error
    except httpx.TransportError as error:
        raise NotAvailableError(f"{error.request.url} failed ({str(error) or type(error).__name__})") from error


def _release(name: str) -> str:
    repository, version = ("dapr/cli", CLI.preferred) if name == "dapr" else ("dapr/dapr", DAPR.preferred)
    return f"{repository}/releases/download/v{version}"


def _kept_checksums() -> dict[str, str]:
    lines = Path(__file__).with_name("checksums.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split() for line in lines if line and not line.startswith("#"))
    return {path: checksum for checksum, path in pairs}


def _checksum(client: httpx.Client, artifact: Artifact, known: dict[str, str]) -> str:
    answer = _patiently(lambda: client.get(f"{artifact.path}.sha256").raise_for_status())
    match = re.match(r"[0-9a-f]{64}\b", answer.text.strip().lower())
    if match is None:
        raise NotAvailableError(f"{answer.url} is not a checksum")
    published = match[0]
    if known.get(artifact.path, published) != published:
        raise NotAvailableError(f"{answer.url} says {published}, but checksums.txt {known[artifact.path]}")
    return published


def _download(client: httpx.Client, artifact: Artifact, checksum: str, archives: Path, step: Step) -> Path:
    archive = archives / Path(artifact.path).name
    if archive.is_file() and _digest(archive) == checksum:
        return archive
    _patiently(lambda: _stream(client, artifact, archive, step))
    found = _digest(archive)
    if found != checksum:
        archive.unlink()
        address = client.base_url.join(artifact.path)
        raise NotAvailableError(f"{address} is truncated or altered: checksum {found}, not {checksum}")
    return archive


def _stream(client: httpx.Client, artifact: Artifact, archive: Path, step: Step) -> None:
    with client.stream("GET", artifact.path) as answer, archive.open("wb") as file:
        answer.raise_for_status()
        length = answer.headers.get("content-length", "")
        total = int(length) // _MEGABYTE if length.isdigit() else None
        for chunk in answer.iter_bytes():
            file.write(chunk)
            step.update(file.tell() // _MEGABYTE, total, "MB")


def _digest(archive: Path) -> str:
    with archive.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack(archive: Path, artifact: Artifact, into: Path) -> None:
    # Only the one regular file of that name is read, and written to a path of ours: nothing in the archive,
    # such as a link or a member with `..` in its name, decides where anything goes.
    try:
        with tarfile.open(archive, "r:gz") as opened:
            path = f"{artifact.folder}{artifact.name}"
            wanted = (entry for entry in opened if entry.isreg() and entry.name.removeprefix("./") == path)
            member = next(wanted, None)
            content = opened.extractfile(member) if member else None
            if content is None:
                raise NotAvailableError(f"{archive.name} holds no file {path!r}")
            unpacked = into / f".{artifact.name}"
            with content, unpacked.open("wb") as file:
                shutil.copyfileobj(content, file)
    except (tarfile.TarError, EOFError) as error:
        raise NotAvailableError(f"{archive.name} is not a readable archive ({error})") from error
    unpacked.chmod(0o755)
    unpacked.replace(into / artifact.name)


def _patiently(call: Callable[[], T]) -> T:
    for _ in range(_ATTEMPTS - 1):
        try:
            return call()
        except httpx.TimeoutException:
            continue
    return call()
