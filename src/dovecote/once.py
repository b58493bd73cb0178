"""Once: work under a key is done by one replica, and its outcome is kept for whoever comes with it again.

The row of a key says who is at it, and shows a sign of life while the work goes on. So a repeated message finds
the outcome, or that somebody is at it; and of one whose replica was killed another takes over.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, overload

from pydantic import JsonValue

from dovecote.errors import DovecoteError
from dovecote.messages import new_id
from dovecote.ports import State
from dovecote.updates import update

log = logging.getLogger(__name__)

KEPT: Final = 24 * 3600
"""Seconds for which an outcome is kept."""
LEASE: Final = 5.0
"""Seconds without a sign of life after which a replica counts as gone."""
_LOOK: Final = 0.2

Work = Callable[[], Awaitable[JsonValue]]


@dataclass(frozen=True)
class Outcome:
    """What work gave: JSON."""

    value: Any


class Once:
    """Does work once per key, whichever replica of an app is told to, and however often.

    `lease` is in seconds; no clocks of two machines are compared. If a replica is killed after the effect of its
    work and before the outcome is kept, the work is done again: what must not be, is written by `Effects`.
    """

    def __init__(self, state: State, *, lease: float | None = None) -> None:
        self._state = state
        self._lease = LEASE if lease is None else lease

    @overload
    async def do(self, key: str, work: Work, *, wait: Literal[True]) -> Outcome: ...
    @overload
    async def do(self, key: str, work: Work) -> Outcome | None: ...
    async def do(self, key: str, work: Work, *, wait: bool = False) -> Outcome | None:
        """The outcome of the work, done now or before; None if another replica is at it, and alive.

        With `wait` there is always one: what another replica is at is waited for. What the work raises is raised,
        and nothing is kept: the next to come does it.
        """
        mine = new_id()
        dead: Any = None
        while True:
            row = await update(self._state, key, partial(_claimed, mine, dead), ttl=KEPT)
            if "value" in row:
                return Outcome(row["value"])
            if row["by"] == mine:
                return await self._work(key, mine, work)
            after = await self._watch(key, row)
            if after == row:
                dead = row
            elif not wait and after and "value" not in after and after["by"] == row["by"]:
                return None

    async def kept(self, key: str) -> Outcome | None:
        """The outcome that is kept of work that was done; None if there is none, or not any more."""
        item = await self._state.get(key)
        return Outcome(item.value["value"]) if item and "value" in item.value else None

    async def _watch(self, key: str, row: Any) -> Any:
        """The row as soon as it is another; after the lease as it was."""
        clock = asyncio.get_running_loop().time
        until = clock() + self._lease
        while clock() < until:
            await asyncio.sleep(min(_LOOK, self._lease))
            item = await self._state.get(key)
            now = item.value if item else None
            if now != row:
                return now
        return row

    async def _work(self, key: str, mine: str, work: Work) -> Outcome:
        done = False
        try:
            async with self._alive(key, mine):
                value = await work()
            done = True
        finally:
            if not done:
                await update(self._state, key, partial(_released, mine), ttl=KEPT)
        row = await update(self._state, key, partial(_kept, value), ttl=KEPT)
        return Outcome(row["value"])

    @contextlib.asynccontextmanager
    async def _alive(self, key: str, mine: str) -> AsyncIterator[None]:
        """Show signs of life while the block runs."""
        beating = asyncio.create_task(self._beat(key, mine))
        try:
            yield
        finally:
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating

    async def _beat(self, key: str, mine: str) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            try:
                await update(self._state, key, partial(_beaten, mine), ttl=KEPT)
            except DovecoteError as error:
                log.warning("%r shows no sign of life: %s", key, error)


def _claimed(mine: str, dead: Any, row: Any) -> JsonValue:
    free = row is None or row == dead or row.get("by") == ""
    return {"by": mine, "beat": 0} if free else None


def _beaten(mine: str, row: Any) -> JsonValue:
    return {**row, "beat": row["beat"] + 1} if row and row.get("by") == mine else None


def _released(mine: str, row: Any) -> JsonValue:
    return {"by": "", "beat": 0} if row and row.get("by") == mine else None


def _kept(value: JsonValue, row: Any) -> JsonValue:
    return None if row and "value" in row else {"value": value}
