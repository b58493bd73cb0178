"""Processes: one child started, watched, started again when it dies, and ended."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from deploy.local.spawning import Program, Running

logger = logging.getLogger(__name__)

Spawner = Callable[[Program, Path], Awaitable[Running]]
_FIRST_DELAY = 0.2
_LONGEST_DELAY = 10.0
_SETTLED_SECONDS = 30.0
_EARLY_SECONDS = 10.0
_EARLY_DEATHS = 5
_KILL_SECONDS = 5.0


class Supervised:
    """One program kept running; every method belongs to the event loop that supervises it."""

    def __init__(self, program: Program, log: Path, spawner: Spawner, *, restart: bool) -> None:
        self.program = program
        self.log = log
        self.pid: int | None = None
        self._fault: str | None = None
        self._started = 0.0
        self._spawner = spawner
        self._restart = restart
        self._wanted = False
        self._expected = False
        self._early_deaths = 0
        self._process: Running | None = None
        self._watch: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()

    @property
    def fault(self) -> str | None:
        """Why the program cannot be kept running, with the end of its log; None while it runs or may yet."""
        settled = self.pid is not None and time.monotonic() - self._started > _EARLY_SECONDS
        return None if settled else self._fault

    async def start(self) -> None:
        """Start the program, and keep it running if it is to be restarted."""
        self._wanted = True
        self._fault = None
        self._early_deaths = 0
        await self._spawn()
        self._watch = asyncio.create_task(self._keep(), name=f"keep {self.program.name}")

    async def kill(self) -> None:
        """Kill the program as a crash would; returns when it is gone, before it is started again."""
        if self.pid is None:
            return
        self._expected = True
        gone = self._gone
        self._signal(signal.SIGKILL)
        await gone.wait()

    def forewarn(self) -> None:
        """Send SIGTERM, and leave the program its time; `stop` comes after."""
        self._wanted = False
        if self.pid is not None:
            self._signal(signal.SIGTERM)
        elif self._watch is not None:
            self._watch.cancel()

    async def stop(self, hurry: asyncio.Event) -> None:
        """End the program for good: SIGTERM, then SIGKILL when its time is over or `hurry` is set."""
        self._wanted = False
        if self._watch is None:
            return
        if self.pid is None:
            self._watch.cancel()
        else:
            self._signal(signal.SIGKILL if hurry.is_set() else signal.SIGTERM)
            await _first_of(self._gone, hurry, self.program.stop_seconds)
            if not self._gone.is_set():
                if not hurry.is_set():
                    seconds = self.program.stop_seconds
                    logger.warning("%s did not end in %g s and is killed", self.program.name, seconds)
                self._signal(signal.SIGKILL)
        await asyncio.wait([self._watch], timeout=_KILL_SECONDS)
        self._watch = None

    async def _keep(self) -> None:
        delay = _FIRST_DELAY
        while True:
            status = await self._reap()
            if not self._wanted:
                return
            lived = time.monotonic() - self._started
            if not self._restart:
                self._fault = f"{self.program.name} ended ({_reason(status)}), see {self.log}"
                return
            delay = _FIRST_DELAY if lived > _SETTLED_SECONDS else delay
            self._judge(status, lived)
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LONGEST_DELAY)
            await self._spawn()

    def _judge(self, status: int, lived: float) -> None:
        name, reason = self.program.name, _reason(status)
        early = lived < _EARLY_SECONDS and not self._expected
        self._expected = False
        self._early_deaths = self._early_deaths + 1 if early else 0
        if not early:
            self._fault = None
        if self._early_deaths == _EARLY_DEATHS:
            self._fault = f"{name} fails again and again ({reason}); the end of {self.log}:\n{last_words(self.log)}"
            logger.error("%s", self._fault)
        elif self._early_deaths < _EARLY_DEATHS:
            logger.warning("%s ended (%s) and is started again; log: %s", name, reason, self.log)

    async def _spawn(self) -> None:
        self._process = await self._spawner(self.program, self.log)
        self.pid = self._process.pid
        self._started = time.monotonic()
        self._gone = asyncio.Event()

    async def _reap(self) -> int:
        if self._process is None or self.pid is None:
            raise RuntimeError(f"{self.program.name} was not started")
        status = await self._process.wait()
        # What the program started itself and left behind would hold its ports against the next start.
        self._signal(signal.SIGKILL)
        self.pid = None
        self._gone.set()
        return status

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                logger.debug("%s was gone before %s", self.program.name, number.name)


async def _first_of(gone: asyncio.Event, hurry: asyncio.Event, seconds: float) -> None:
    waits = [asyncio.create_task(gone.wait()), asyncio.create_task(hurry.wait())]
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


def _reason(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def last_words(log: Path, count: int = 6) -> str:
    """Return the last lines of a log that report a fault, or simply the last ones if none does."""
    lines = log.read_text(errors="replace").splitlines()[-200:]
    faults = [line for line in lines if "level=fatal" in line or "level=error" in line or "Error" in line]
    return "\n".join(f"  {line}" for line in list(dict.fromkeys(faults or lines))[-count:])
