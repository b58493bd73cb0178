"""The database of an index: its tables, how it is opened, and the lock that one run at a time holds."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

_BUSY_TIMEOUT = 30.0
_LOCK_PATIENCE = 0.2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL, mtime INTEGER, sha256 BLOB NOT NULL, reason TEXT
);
CREATE TABLE IF NOT EXISTS passages (
    id INTEGER PRIMARY KEY, file INTEGER NOT NULL REFERENCES files (id),
    first_line INTEGER NOT NULL, last_line INTEGER NOT NULL, page INTEGER, heading TEXT NOT NULL, text TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS passages_of_a_file ON passages (file);
CREATE VIRTUAL TABLE IF NOT EXISTS terms USING fts5 (
    text, heading, content='passages', content_rowid='id', tokenize='porter unicode61 remove_diacritics 2'
);
CREATE TRIGGER IF NOT EXISTS passage_added AFTER INSERT ON passages BEGIN
    INSERT INTO terms (rowid, text, heading) VALUES (new.id, new.text, new.heading);
END;
CREATE TRIGGER IF NOT EXISTS passage_removed AFTER DELETE ON passages BEGIN
    INSERT INTO terms (terms, rowid, text, heading) VALUES ('delete', old.id, old.text, old.heading);
END;
"""


class BrokenIndexError(Exception):
    """The database of an index is damaged."""


@contextmanager
def opened(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection to an existing or new database; raises BrokenIndexError if the file is damaged or none of ours.

    Each statement stands for itself: BEGIN and COMMIT are the caller's.
    """
    try:
        with closing(sqlite3.connect(database, timeout=_BUSY_TIMEOUT, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = NORMAL")
            yield connection
    except sqlite3.DatabaseError as error:
        # Its subclasses are other troubles: a full disk, a file that may not be written.
        if type(error) is not sqlite3.DatabaseError:
            raise
        message = f"The index {str(database)!r} is damaged ({error}): delete it, the next run makes it anew"
        raise BrokenIndexError(message) from error


def create(connection: sqlite3.Connection) -> None:
    """Make the tables that are not there yet; readers then do not wait for a writer."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(_SCHEMA)


def is_complete(connection: sqlite3.Connection) -> bool:
    """Whether a run has ever come to its end."""
    return bool(connection.execute("PRAGMA user_version").fetchone()[0])


def mark_complete(connection: sqlite3.Connection) -> None:
    """Say, as part of the transaction, that a run has come to its end."""
    connection.execute("PRAGMA user_version = 1")


@contextmanager
def run_lock(database: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Held by the one index run of a database, over all processes; `waiting` is called while another one holds it.

    The system releases it when its holder dies.
    """
    lock = database.with_suffix(".lock")
    with closing(sqlite3.connect(lock, timeout=_LOCK_PATIENCE, isolation_level=None)) as connection:
        while not _taken(connection):
            waiting()
        yield


def _taken(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True
