"""Which Dapr fits, and how to tell what a binary is."""

import mmap
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BINARIES = ("daprd", "placement", "scheduler", "sentry", "dapr")
SOURCE_VERSION = "1.18.2"  # of 1.18.3, three dependencies are not served by the Go module proxy

# Only the flavour `allcomponents` links this package; Go keeps package paths in stripped binaries as well.
_FLAVOUR_MARK = b"components-contrib/conversation/openai"
_PROBE_SECONDS = 30


class NotAvailableError(Exception):
    """One way of getting Dapr did not work; its text is the reason."""


@dataclass(frozen=True)
class Range:
    """The versions of one program that fit: from `minimum` up to, but not including, `below`.

    `preferred` is the one to fetch when there is none.
    """

    preferred: str
    minimum: str
    below: str

    def require(self, program: str, version: str) -> None:
        """Raise `NotAvailableError` unless `version` is a release within the range."""
        if not _parse(self.minimum) <= _parse(version) < _parse(self.below):
            needed = f"at least {self.minimum} and below {self.below}"
            raise NotAvailableError(f"{program} has version {version!r}, but it must be {needed}")


DAPR = Range(preferred="1.18.3", minimum="1.18.2", below="1.19.0")
CLI = Range(preferred="1.16.5", minimum="1.16.5", below="1.19.0")


@dataclass(frozen=True)
class Versions:
    """The versions of a complete set of binaries."""

    dapr: str
    cli: str


def examine(binaries: Mapping[str, Path]) -> Versions:
    """Run a set of binaries, by name, and return their versions.

    Raises `NotAvailableError` if one is missing, does not run here, has a version that does not fit or another
    one than the rest, or if daprd was built without the components that Dovecote needs.
    """
    missing = [name for name in BINARIES if name not in binaries]
    if missing:
        raise NotAvailableError(f"{', '.join(missing)} missing")
    versions = Versions(_daprd_version(binaries["daprd"]), _cli_version(binaries["dapr"]))
    DAPR.require(str(binaries["daprd"]), versions.dapr)
    CLI.require(str(binaries["dapr"]), versions.cli)
    for name in BINARIES:
        verify(name, binaries[name], versions.cli if name == "dapr" else versions.dapr)
    return versions


def verify(name: str, binary: Path, version: str) -> None:
    """Raise `NotAvailableError` unless the file is the Dapr program `name` in that version and runs here."""
    if name == "daprd":
        found = _daprd_version(binary)
        if not _contains(binary, _FLAVOUR_MARK):
            raise NotAvailableError(f"{binary} is not of the flavour allcomponents: it has no Conversation API")
    elif name == "dapr":
        found = _cli_version(binary)
    else:
        # These three have no --version: their usage names them, and the version must be among their strings.
        if f"Usage of {name}" not in _run(binary, "--help"):
            raise NotAvailableError(f"{binary} is not Dapr's {name}")
        found = version if _contains(binary, version.encode()) else "another"
    if found != version:
        raise NotAvailableError(f"{binary} has version {found}, not {version}")


def _daprd_version(binary: Path) -> str:
    return _run(binary, "--version").strip()


def _cli_version(binary: Path) -> str:
    output = _run(binary, "--version")
    match = re.search(r"^CLI version:\s*(\S+)", output, re.MULTILINE)
    return match[1] if match else output.strip()


def _parse(version: str) -> tuple[int, ...]:
    match = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)", version)
    return tuple(int(part) for part in match.groups()) if match else (0,)


def _run(binary: Path, argument: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the binary is what the user installed or we verified
            [binary, argument],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotAvailableError(f"{binary} does not run here ({error})") from error
    return done.stdout.decode(errors="replace")


def _contains(binary: Path, mark: bytes) -> bool:
    with binary.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(mark) >= 0
