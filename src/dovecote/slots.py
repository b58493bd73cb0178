"""Slots: how many messages an app handles at once, and which of those that wait is next."""

import asyncio
import itertools
from collections import deque
from typing import Final

from dovecote.messages import Priority

BY_AGE: Final = 10
"""Of so many slots that become free, one goes to what has waited longest: so nothing waits for ever."""


class Slots:
    """At most `limit` messages at once; of those that wait, the one of the highest priority is next, by its age."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._came = itertools.count()
        self._freed = 0
        self._lines: list[deque[tuple[int, asyncio.Future[None]]]] = [deque() for _ in Priority]

    async def take(self, priority: Priority) -> None:
        """Return when it is one's turn; who got a slot gives it back."""
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._lines[priority].append((next(self._came), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was its turn already
                self.give_back()
            raise

    def give_back(self) -> None:
        """Leave the slot to whoever is next."""
        self._freed += 1
        while lines := [line for line in self._lines if line]:
            line = min(lines, key=lambda line: line[0][0]) if self._freed % BY_AGE == 0 else lines[0]
            _, turn = line.popleft()
            if not turn.cancelled():
                turn.set_result(None)
                return
        self._free += 1
