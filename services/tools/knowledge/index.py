"""The index of a folder of documents: kept up to date by content, searched by words."""

import hashlib
import os
import sqlite3
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.contracts.documents import IndexReport, Passage, Unreadable
from services.tools.knowledge import ranking, store
from services.tools.knowledge.blocks import UnreadableError
from services.tools.knowledge.folders import list_documents, reason
from services.tools.knowledge.formats import read
from services.tools.knowledge.passages import Piece, cut

MAX_BYTES = 20 * 2**20
_BATCH_SECONDS = 1.0
_BATCH_FILES = 200
# A file younger than this may change again without its time showing it.
_SETTLED_NANOSECONDS = 2 * 10**9


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an index run is: `done` of `total` files, and the one at hand."""

    done: int
    total: int
    current: str


class Index:
    """The index of one folder, in one database file; threads and processes may share it.

    A `search` sees what is committed; of `update`, one at a time runs on a database, the others wait for it.
    """

    def __init__(self, folder: Path, database: Path) -> None:
        self._folder = folder
        self._database = database

    @property
    def complete(self) -> bool:
        """Whether an update has ever come to its end."""
        if not self._database.exists():
            return False
        with store.opened(self._database) as connection:
            return store.is_complete(connection)

    def update(self, progress: Callable[[Progress], None] | None = None) -> IndexReport:
        """Bring the index up to date with the folder; what was read before and is unchanged is not read again.

        May be interrupted at any point: the next run goes on from the last batch. `progress` is called before
        each file; what it raises ends the run. Raises NotADirectoryError when the folder is none.
        """
        if not self._folder.is_dir():
            raise NotADirectoryError(f"{str(self._folder)!r} is not a folder")
        tell = progress or (lambda _: None)
        self._database.parent.mkdir(parents=True, exist_ok=True)
        waiting = Progress(0, 0, "waiting for another run on this folder")
        with store.run_lock(self._database, lambda: tell(waiting)), store.opened(self._database) as opened:
            store.create(opened)
            return _Run(self._folder, opened).run(tell)

    def search(self, query: str, limit: int) -> list[Passage]:
        """At most `limit` passages that fit a query, best first.

        Any text is a query; one without words finds nothing. Needs an index that is `complete`.
        """
        with store.opened(self._database) as connection:
            # One transaction, so that an update which ends meanwhile is seen whole or not at all.
            connection.execute("BEGIN")
            return ranking.search(connection, query, limit)


@dataclass(frozen=True, slots=True)
class _Known:
    id: int
    size: int
    mtime: int | None
    sha256: bytes
    reason: str | None


class _Run:
    """One update, in batches that are each a transaction."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self._folder = folder
        self._connection = connection
        rows = connection.execute("SELECT path, id, size, mtime, sha256, reason FROM files")
        self._known = {path: _Known(*row) for path, *row in rows}
        self._unreadable: list[Unreadable] = []
        self._added = self._changed = self._removed = self._unchanged = 0

    def run(self, tell: Callable[[Progress], None]) -> IndexReport:
        started = committed = time.monotonic()
        listing = list_documents(self._folder)
        self._unreadable += listing.unreadable
        self._connection.execute("BEGIN")
        for number, path in enumerate(listing.files):
            if number % _BATCH_FILES == 0 or time.monotonic() - committed > _BATCH_SECONDS:
                self._connection.execute("COMMIT")
                self._connection.execute("BEGIN")
                committed = time.monotonic()
            tell(Progress(number, len(listing.files), path))
            self._visit(path)
        for path in self._known.keys() - set(listing.files):
            self._removed += self._known[path].reason is None
            self._forget(self._known[path])
        store.mark_complete(self._connection)
        self._connection.execute("COMMIT")
        return self._report(time.monotonic() - started)

    def _visit(self, path: str) -> None:
        known = self._known.get(path)
        try:
            status = (self._folder / path).stat()
            if known and (known.size, known.mtime) == (status.st_size, status.st_mtime_ns):
                self._keep(path, known)
                return
            content = self._content(path, status)
            digest = hashlib.sha256(content).digest()
            settled = time.time_ns() - status.st_mtime_ns > _SETTLED_NANOSECONDS
            seen = (status.st_size, status.st_mtime_ns if settled else None)
            if known and known.sha256 == digest:
                self._connection.execute("UPDATE files SET size = ?, mtime = ? WHERE id = ?", (*seen, known.id))
                self._keep(path, known)
                return
        except (OSError, UnreadableError) as error:
            # Not remembered: what is in the way may go without the file's time changing.
            why = reason(error) if isinstance(error, OSError) else str(error)
            self._unreadable.append(Unreadable(file=path, reason=why))
            if known:
                self._forget(known)
            return
        if known:
            self._forget(known)
        self._add(path, content, (*seen, digest), known)

    def _content(self, path: str, status: os.stat_result) -> bytes:
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError("it is no regular file")
        with (self._folder / path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UnreadableError(f"it is larger than {MAX_BYTES // 2**20} MB: split it")
        return content

    def _keep(self, path: str, known: _Known) -> None:
        if known.reason is None:
            self._unchanged += 1
        else:
            self._unreadable.append(Unreadable(file=path, reason=known.reason))

    def _forget(self, known: _Known) -> None:
        self._connection.execute("DELETE FROM passages WHERE file = ?", (known.id,))
        self._connection.execute("DELETE FROM files WHERE id = ?", (known.id,))

    def _add(self, path: str, content: bytes, seen: tuple[int, int | None, bytes], known: _Known | None) -> None:
        why = None
        pieces: list[Piece] = []
        try:
            pieces = list(cut(read(path, content)))
        except UnreadableError as error:
            why = str(error)
            self._unreadable.append(Unreadable(file=path, reason=why))
        else:
            if known and known.reason is None:
                self._changed += 1
            else:
                self._added += 1
        insert = "INSERT INTO files (path, size, mtime, sha256, reason) VALUES (?, ?, ?, ?, ?)"
        file = self._connection.execute(insert, (path, *seen, why)).lastrowid
        self._connection.executemany(
            "INSERT INTO passages (file, first_line, last_line, page, heading, text) VALUES (?, ?, ?, ?, ?, ?)",
            ((file, p.first_line, p.last_line, p.page, p.heading, p.text) for p in pieces),
        )

    def _report(self, seconds: float) -> IndexReport:
        files = self._connection.execute("SELECT count(*) FROM files WHERE reason IS NULL").fetchone()[0]
        passages = self._connection.execute("SELECT count(*) FROM passages").fetchone()[0]
        return IndexReport(
            files=files,
            passages=passages,
            added=self._added,
            changed=self._changed,
            removed=self._removed,
            unchanged=self._unchanged,
            unreadable=sorted(self._unreadable, key=lambda unreadable: unreadable.file),
            seconds=round(seconds, 3),
        )
