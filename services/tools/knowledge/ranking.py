"""The passages that fit a query: BM25, and before others those that hold more of its different words."""

import re
import sqlite3
from collections import Counter

from services.contracts.documents import Passage

_WORD = re.compile(r"[^\W_]+")
_MOST_TERMS = 32
_CANDIDATES = 100
_LARGE = 10_000
_COUNT = "SELECT count(*) FROM terms WHERE terms MATCH ?"
# The part of its score that a passage keeps with next to none of the words; one that holds all keeps the whole.
_LEAST_SHARE = 0.3
_SAYING_NOTHING = """
a about all also am an and any are as at be been but by can could did do does for from had has have how i if
in into is it its me my no not of on or our please shall should so tell that the their them then there these
they this those to was we were what when where which who whom whose why will with would you your
"""
_STOP_WORDS = frozenset(_SAYING_NOTHING.split())
# A word in a heading tells more of what a passage is about than one in its text. Texts are fetched once it is
# known of which passages: the sort would carry them all along.
_BEST = """
WITH best AS (
    SELECT passages.id, files.path AS file, -bm25(terms, 1.0, 2.0) AS score
    FROM terms JOIN passages ON passages.id = terms.rowid JOIN files ON files.id = passages.file
    WHERE terms MATCH ? ORDER BY score DESC, files.path, page, first_line LIMIT ?
)
SELECT best.id, best.score, best.file, page, first_line, last_line, heading, text
FROM best JOIN passages ON passages.id = best.id ORDER BY score DESC, best.file, page, first_line
"""


def search(connection: sqlite3.Connection, query: str, limit: int) -> list[Passage]:
    """At most `limit` passages, best first; of equals, the first by file, page and line."""
    terms = _telling(connection, [f'"{word}"' for word in _words(query)])
    if not terms or limit < 1:
        return []
    rows = connection.execute(_BEST, (" OR ".join(terms), max(limit, _CANDIDATES))).fetchall()
    held = _held(connection, terms, {identifier for identifier, *_ in rows})
    passages = [
        _passage(score * (_LEAST_SHARE + (1 - _LEAST_SHARE) * held[identifier] / len(terms)), *columns)
        for identifier, score, *columns in rows
    ]
    passages.sort(key=lambda passage: -passage.score)
    return passages[:limit]


def _words(query: str) -> list[str]:
    """Words to search for: each once, the first 32, without those that say nothing if others are left."""
    words = list(dict.fromkeys(_WORD.findall(query.lower())))
    return ([word for word in words if word not in _STOP_WORDS] or words)[:_MOST_TERMS]


def _telling(connection: sqlite3.Connection, terms: list[str]) -> list[str]:
    """Of the terms that occur, those that not most of the passages of a large index hold, if there are any.

    BM25 gives the others no weight, and they take the most time.
    """
    passages = connection.execute("SELECT count(*) FROM passages").fetchone()[0]
    counts = {term: connection.execute(_COUNT, (term,)).fetchone()[0] for term in terms}
    occurring = [term for term in terms if counts[term]]
    return [term for term in occurring if passages < _LARGE or counts[term] <= passages / 2] or occurring


def _held(connection: sqlite3.Connection, terms: list[str], ids: set[int]) -> Counter[int]:
    """How many of the terms each of the passages holds."""
    held: Counter[int] = Counter()
    for term in terms:
        found = connection.execute("SELECT rowid FROM terms WHERE terms MATCH ?", (term,))
        held.update(ids.intersection(row[0] for row in found))
    return held


def _passage(score: float, *columns: str | int | None) -> Passage:
    fields = dict(zip(("file", "page", "first_line", "last_line", "heading", "text"), columns, strict=True))
    place = fields["file"] if fields["page"] is None else f"{fields['file']}#page={fields['page']}"
    source = f"{place}:{fields['first_line']}-{fields['last_line']}"
    return Passage.model_validate({"source": source, "score": round(score, 6), **fields})
