"""The clock of a test: real time, which a test may move forward."""

import asyncio
from datetime import datetime, timedelta

from dovecote.messages import now


class Clock:
    """Time as the in-memory ports see it: it runs as real time does, and `advance` makes it jump."""

    def __init__(self) -> None:
        self._ahead = timedelta()
        self._jumped = asyncio.Event()

    def now(self) -> datetime:
        """The time, in UTC."""
        return now() + self._ahead

    def advance(self, seconds: float) -> None:
        """Move time forward; who waits for a moment that is over by then goes on."""
        self._ahead += timedelta(seconds=seconds)
        self._jumped.set()
        self._jumped = asyncio.Event()

    async def wait_until(self, moment: datetime) -> None:
        """Return when the moment is there."""
        while (left := (moment - self.now()).total_seconds()) > 0:
            jumped = self._jumped
            try:
                async with asyncio.timeout(left):
                    await jumped.wait()
            except TimeoutError:
                continue
