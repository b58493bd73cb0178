"""What a namespace holds: subscriptions, and the messages that wait in them or are locked; kept in SQLite."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEAD_LETTERS: Final = "$DeadLetterQueue"
TOO_MANY: Final = "MaxDeliveryCountExceeded"
_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS subscription (entity TEXT PRIMARY KEY, topic TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS message (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, entity TEXT NOT NULL, body BLOB NOT NULL, enqueued REAL NOT NULL,
    expires REAL, session TEXT, deliveries INTEGER NOT NULL DEFAULT 0, token TEXT, locked_until REAL,
    reason TEXT, description TEXT
);
CREATE INDEX IF NOT EXISTS waiting ON message (entity, sequence) WHERE token IS NULL;
CREATE INDEX IF NOT EXISTS locked ON message (locked_until) WHERE token IS NOT NULL;
CREATE INDEX IF NOT EXISTS expiring ON message (expires) WHERE expires IS NOT NULL;
CREATE INDEX IF NOT EXISTS sessions ON message (entity, session, sequence)
    WHERE token IS NULL AND session IS NOT NULL;
-- Not a constraint of the column: its index would hold what waits too, and be taken, and read whole, to find that.
CREATE UNIQUE INDEX IF NOT EXISTS tokens ON message (token) WHERE token IS NOT NULL;
"""
_COLUMNS = "sequence, body, enqueued, deliveries, reason, description"


@dataclass(frozen=True)
class Posted:
    """A message as it was sent: encoded, with what the namespace must know of it. `ttl` is in seconds."""

    body: bytes
    session: str | None = None
    ttl: float | None = None


@dataclass(frozen=True)
class Locked:
    """A message in the hands of a receiver, until `locked_until`; `deliveries` counts the earlier ones."""

    sequence: int
    body: bytes
    enqueued: float
    deliveries: int
    reason: str | None
    description: str | None
    token: str
    locked_until: float


class Store:
    """A namespace in a file; its clock tells seconds since 1970.

    A lock lasts `lock_seconds`; what was delivered `max_deliveries` times and came back each time is a dead letter.
    """

    def __init__(
        self,
        path: Path,
        *,
        lock_seconds: float,
        max_deliveries: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._lock_seconds = lock_seconds
        self._max_deliveries = max_deliveries
        self._clock = clock
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(_SCHEMA)
        # Nobody holds a lock of an earlier run.
        self._db.execute("UPDATE message SET token = NULL, locked_until = NULL WHERE token IS NOT NULL")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def subscribe(self, topic: str, name: str) -> str:
        """Make sure that a topic has a subscription; returns the entity that its receivers attach to."""
        entity = f"{topic}/Subscriptions/{name}"
        self._db.execute("INSERT OR IGNORE INTO subscription VALUES (?, ?)", (entity, topic))
        return entity

    def publish(self, topic: str, messages: Iterable[Posted]) -> list[str]:
        """Put messages, all or none, into each subscription of the topic; returns these, which may be none."""
        rows = self._db.execute("SELECT entity FROM subscription WHERE topic = ?", (topic,))
        entities = [str(entity) for (entity,) in rows]
        now = self._clock()
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany(
                "INSERT INTO message (entity, body, enqueued, expires, session) VALUES (?, ?, ?, ?, ?)",
                [
                    (entity, posted.body, now, now + posted.ttl if posted.ttl else None, posted.session)
                    for posted in messages
                    for entity in entities
                ],
            )
        return entities

    def take(self, entity: str, session: str | None = None) -> Locked | None:
        """Lock the first message that waits, of one session if it is given, or return None."""
        now = self._clock()
        self._db.execute("DELETE FROM message WHERE expires <= ? AND token IS NULL", (now,))
        token, until = secrets.token_hex(8), now + self._lock_seconds
        row = self._db.execute(
            "UPDATE message SET token = ?, locked_until = ? WHERE sequence = (SELECT sequence FROM message "
            "WHERE entity = ? AND token IS NULL AND session IS ifnull(?, session) ORDER BY sequence LIMIT 1) "
            f"RETURNING {_COLUMNS}",
            (token, until, entity, session),
        ).fetchone()
        if row is None:
            return None
        sequence, body, enqueued, deliveries, reason, description = row
        return Locked(sequence, body, enqueued, deliveries, reason, description, token, until)

    def free_session(self, entity: str, taken: Collection[str]) -> str | None:
        """Return the session of the oldest waiting message whose session nobody has taken, or None."""
        rows = self._db.execute(
            "SELECT session FROM message WHERE entity = ? AND token IS NULL AND session IS NOT NULL "
            "GROUP BY session ORDER BY min(sequence)",
            (entity,),
        )
        return next((str(session) for (session,) in rows if session not in taken), None)

    def complete(self, token: str) -> bool:
        """Remove a locked message; False if the lock is lost."""
        return self._changed("DELETE FROM message WHERE token = ?", token)

    def release(self, token: str) -> bool:
        """Put a locked message back, as if it had not been delivered; False if the lock is lost."""
        return self._changed("UPDATE message SET token = NULL, locked_until = NULL WHERE token = ?", token)

    def abandon(self, token: str) -> bool:
        """Put a locked message back, or, after too many deliveries, among the dead letters.

        False if the lock is lost.
        """
        return self._give_back("token = ?", token) > 0

    def dead_letter(self, token: str, reason: str, description: str) -> bool:
        """Move a locked message to the dead letters with the reason; False if the lock is lost."""
        return self._changed(
            f"UPDATE message SET entity = entity || '/{DEAD_LETTERS}', token = NULL, locked_until = NULL, "
            "deliveries = 0, expires = NULL, reason = ?, description = ? WHERE token = ?",
            reason,
            description,
            token,
        )

    def renew(self, token: str) -> float | None:
        """Lock a locked message anew; returns until when, None if the lock is lost."""
        until = self._clock() + self._lock_seconds
        return until if self._changed("UPDATE message SET locked_until = ? WHERE token = ?", until, token) else None

    def renew_session(self, entity: str, session: str) -> float:
        """Lock the locked messages of a session anew; returns until when."""
        until = self._clock() + self._lock_seconds
        self._changed(
            "UPDATE message SET locked_until = ? WHERE entity = ? AND session = ? AND token IS NOT NULL",
            until,
            entity,
            session,
        )
        return until

    def end_session(self, entity: str, session: str) -> int:
        """Put back the locked messages of a session, which its receiver has left; returns how many."""
        return self._give_back("entity = ? AND session = ? AND token IS NOT NULL", entity, session)

    def end_locks(self) -> int:
        """Put back the messages whose lock has run out; returns how many."""
        return self._give_back("token IS NOT NULL AND locked_until <= ?", self._clock())

    def _give_back(self, condition: str, *values: object) -> int:
        last = f"deliveries + 1 >= {self._max_deliveries}"
        return self._db.execute(
            f"UPDATE message SET token = NULL, locked_until = NULL, deliveries = deliveries + 1, "
            f"reason = iif({last}, '{TOO_MANY}', reason), "
            f"entity = iif({last}, entity || '/{DEAD_LETTERS}', entity) WHERE {condition}",
            values,
        ).rowcount

    def _changed(self, statement: str, *values: object) -> bool:
        return self._db.execute(statement, values).rowcount > 0
