"""A container image that is made of a program of this machine and the libraries that it needs."""

import io
import re
import subprocess
import tarfile
from pathlib import Path

from tests.support.containers import engine


def make_image(image: str, program: Path, *arguments: str) -> None:
    """Make an image whose command is the program with the arguments, and give it to the container engine."""
    command = [str(program), *arguments]
    name, _, tag = image.partition(":")
    with engine() as found:
        found.api.import_image_from_data(
            _archive(program), repository=name, tag=tag, changes=[f"CMD {command}".replace("'", '"')]
        )


def _archive(program: Path) -> bytes:
    linked = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    files = [program, *(Path(path) for path in re.findall(r"(?:=> |^\s*)(/\S+)", linked, re.MULTILINE))]
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", dereference=True) as archive:
        for path in [*files, Path("/etc/passwd"), Path("/etc/group")]:
            archive.add(path)
    return made.getvalue()
