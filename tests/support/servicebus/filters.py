"""The filter by which a receiver asks for a session, and is told which one it has."""

from __future__ import annotations

from typing import Any, Final

from proton import Described, symbol, ulong

_NAME: Final = "com.microsoft:session-filter"
_CODE: Final = 0x13700000C


def asks_for_session(source: Any) -> bool:
    """Say whether the source of a link asks for the next session that has messages."""
    wanted = source.filter
    wanted.rewind()
    return wanted.next() is not None and _NAME in (wanted.get_object() or {})


def tell_session(source: Any, session: str) -> None:
    """Put the session into the source of a link that is about to be attached."""
    told = source.filter
    told.clear()
    told.put_object({symbol(_NAME): Described(ulong(_CODE), session)})
