"""Which documents a folder holds."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from services.contracts.documents import Unreadable
from services.tools.knowledge.formats import is_document

_SKIPPED = frozenset({"node_modules", "__pycache__"})


@dataclass
class Listing:
    """The documents of a folder as sorted relative paths with forward slashes, and what could not be looked at."""

    files: list[str] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)


def list_documents(folder: Path) -> Listing:
    """Documents below a folder.

    What is hidden and node_modules are left out. A link to a folder is followed once, and not at all if it leads
    to a folder that is listed already, so that links cannot lead in circles.
    """
    listing = Listing()
    seen: set[tuple[int, int]] = set()
    # The folder's own files come before those that links lead to, so that a file goes by its real name.
    waiting, linked = [""], list[str]()
    while waiting or linked:
        relative = waiting.pop() if waiting else linked.pop()
        try:
            status = (folder / relative).stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            for entry in _entries(folder / relative):
                path = f"{relative}/{entry.name}".removeprefix("/")
                if _is_folder(entry):
                    (linked if entry.is_symlink() else waiting).append(path)
                elif is_document(entry.name):
                    _add(listing, path)
        except OSError as error:
            listing.unreadable.append(Unreadable(file=_shown(relative or "."), reason=reason(error)))
    listing.files.sort()
    return listing


def reason(error: OSError) -> str:
    """Why the system refused, in a few words without the path."""
    return (error.strerror or str(error)).lower()


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from sorted(
            (entry for entry in entries if not entry.name.startswith(".") and entry.name not in _SKIPPED),
            key=lambda entry: entry.name,
            reverse=True,
        )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link that leads to itself. If it has a document's name, reading it will say so.
        return False


def _add(listing: Listing, path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        listing.unreadable.append(Unreadable(file=_shown(path), reason="its name is not UTF-8: rename it"))
    else:
        listing.files.append(path)


def _shown(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")
