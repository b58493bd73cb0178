"""Updates: a value of the state store is changed by what it was, whoever else changes it at the same time."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, Final

from pydantic import JsonValue

from dovecote.errors import ConflictError, UnavailableError
from dovecote.ports import State, Write

PATIENCE: Final = 30.0
_SHORTEST, _LONGEST = 0.002, 0.1  # seconds between tries to write


class Contest:
    """The tries of one writer to change `what` while others do; for `patience` seconds from now, at most."""

    def __init__(self, what: str, patience: float = PATIENCE) -> None:
        self._what = what
        self._patience = patience
        self._deadline = time.monotonic() + patience
        self._pause = _SHORTEST

    async def lost(self, error: ConflictError) -> None:
        """Wait before the next try, longer each time; UnavailableError when the patience is over."""
        if time.monotonic() > self._deadline:
            raise UnavailableError(
                f"{self._what} was written by others for {self._patience:g} s on end",
                mend="try again with the same id, or let fewer write to it at once",
            ) from error
        await asyncio.sleep(random.uniform(0, self._pause))  # noqa: S311 - a pause is no secret
        self._pause = min(2 * self._pause, _LONGEST)


async def update(
    state: State,
    key: str,
    change: Callable[[Any], JsonValue],
    *,
    ttl: int | Callable[[Any], int] | None = None,
) -> Any:
    """Write what `change` makes of a key's value; returns the value that the key has then.

    `change` gets None where there is no such key, leaves all as it is by returning None, and is asked again when
    somebody else wrote first; UnavailableError if that goes on for half a minute. What it raises is raised, and
    nothing is written. `ttl` is in seconds, or what gives them for the value that is written.
    """
    contest = Contest(f"key {key!r}")
    while True:
        item = await state.get(key)
        before = item.value if item else None
        after = change(before)
        if after is None:
            return before
        lasting = ttl(after) if callable(ttl) else ttl
        try:
            await state.write(Write(key, after, etag=item.etag if item else None, create=item is None, ttl=lasting))
        except ConflictError as error:
            await contest.lost(error)
        else:
            return after
