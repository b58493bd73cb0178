"""Kafka's jars and the Java that runs them.

Maven fetches the jars, from where it is configured to; their versions and checksums are those of kafka-jars.txt.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from deploy.local.brokers.server import find_program
from deploy.local.cache import cache_folder, locked
from deploy.local.errors import MissingServerError
from deploy.local.progress import Progress

_HERE = Path(__file__).parent
_PROJECT = _HERE / "kafka-jars.xml"
_JAVA = 17
_JAVA_MEND: Final = (
    f"install Java {_JAVA} or later (Debian: apt install openjdk-17-jre-headless; macOS: brew install openjdk), "
    "or set KAFKA_BROKERS"
)
_MAVEN_MEND: Final = (
    "it fetches Kafka: install it (Debian: apt install maven; macOS: brew install maven), or set KAFKA_BROKERS"
)


def find_java(progress: Progress) -> Path:
    """Return where Java lies, installed if need be and possible.

    Raises MissingServerError if there is none, or one that is too old for Kafka.
    """
    java = find_program("java", ["openjdk-17-jre-headless"], _JAVA_MEND, progress)
    asked = [str(java), "-version"]
    told = subprocess.run(asked, check=False, capture_output=True, text=True).stderr  # noqa: S603 - as it was found
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < _JAVA:
        raise MissingServerError(f"{java} is {told.strip().splitlines()[:1]}: {_JAVA_MEND}")
    return java


def find_jars(progress: Progress) -> Path:
    """Return the folder with Kafka's jars, fetched once for each user of the machine.

    Raises MissingServerError with Maven's last words, or with the jar whose checksum is another one.
    """
    wanted = checksums()
    cache = cache_folder().parent / "kafka"
    jars = cache / hashlib.sha256(repr(sorted(wanted.items())).encode()).hexdigest()[:12]
    if differing(jars, wanted) is None:
        return jars
    with locked(cache, progress, "Kafka"):
        if differing(jars, wanted) is not None:
            _fetch(jars, wanted, progress)
    return jars


def checksums() -> dict[str, str]:
    """Return the SHA-256 checksum of each jar by its file name."""
    lines = (_HERE / "kafka-jars.txt").read_text(encoding="utf-8").splitlines()
    return {name: checksum for checksum, name in (line.split() for line in lines)}


def differing(folder: Path, wanted: dict[str, str]) -> str | None:
    """Return the name of a jar that is not in the folder as it must be, or that must not be there; else None."""
    there = {path.name for path in folder.glob("*.jar")}
    for name in sorted(there | wanted.keys()):
        if name not in there or name not in wanted:
            return name
        with (folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != wanted[name]:
                return name
    return None


def _fetch(jars: Path, wanted: dict[str, str], progress: Progress) -> None:
    maven = find_program("mvn", ["maven", "openjdk-17-jre-headless"], _MAVEN_MEND, progress)
    staged = jars.with_suffix(".partial")
    shutil.rmtree(staged, ignore_errors=True)
    command = [
        str(maven),
        "--batch-mode",
        "--file",
        str(_PROJECT),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={staged}",
    ]
    with progress.step(f"Fetching Kafka ({len(wanted)} jars)"):
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - Maven
    if done.returncode:
        errors = [line for line in done.stdout.splitlines() if "ERROR" in line]
        raise MissingServerError("Maven cannot fetch Kafka's jars:\n" + "\n".join(errors[:4]))
    if (name := differing(staged, wanted)) is not None:
        raise MissingServerError(f"{name} is not the jar that kafka-jars.txt names: see where Maven got it from")
    shutil.rmtree(jars, ignore_errors=True)
    staged.replace(jars)
