"""Updates: a value of the state store is changed by what it was, whoever else changes it at the same time."""

from collections.abc import Callable
from typing import Any

from pydantic import JsonValue

from dovecote.errors import ConflictError
from dovecote.ports import State, Write


async def update(
    state: State,
    key: str,
    change: Callable[[Any], JsonValue],
    *,
    ttl: int | Callable[[Any], int] | None = None,
) -> Any:
    """Write what `change` makes of a key's value; returns the value that the key has then.

    `change` gets None where there is no such key, leaves all as it is by returning None, and is asked again when
    somebody else wrote first. What it raises is raised, and nothing is written. `ttl` is in seconds, or what
    gives them for the value that is written.
    """
    while True:
        item = await state.get(key)
        before = item.value if item else None
        after = change(before)
        if after is None:
            return before
        lasting = ttl(after) if callable(ttl) else ttl
        try:
            await state.write(Write(key, after, etag=item.etag if item else None, create=item is None, ttl=lasting))
        except ConflictError:
            continue
        return after
