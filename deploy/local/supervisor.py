"""The supervisor: an event loop in a thread of its own, from which every child process is started."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from deploy.local.errors import LauncherError
from deploy.local.leftovers import note_process
from deploy.local.processes import Supervised
from deploy.local.spawning import ForkServerClient, ForkServerLostError, Program, Running, execute

logger = logging.getLogger(__name__)
T = TypeVar("T")
NOTES = "pids"


class Supervisor:
    """Keeps programs running, and is called from ordinary code; logs and notes are kept in the folder `data`.

    The thread lives as long as the children: the kernel ends a child when the *thread* that started it ends.
    """

    def __init__(self, data: Path, *, restart: bool) -> None:
        self._logs = data / "logs"
        self._notes = data / NOTES
        for folder in (self._logs, self._notes):
            folder.mkdir(parents=True, exist_ok=True)
        self._restart = restart
        self._children: dict[str, Supervised] = {}
        self._forkserver: ForkServerClient | None = None
        self._hurry = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="supervisor", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the supervisor's loop and return its result; cancelled if the caller is."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    @property
    def names(self) -> list[str]:
        """The names of the children."""
        return list(self._children)

    def child(self, name: str) -> Supervised:
        """Return the child of that name; raises LauncherError that lists the names there are."""
        if name not in self._children:
            raise LauncherError(f"there is no process {name!r}; there are: {', '.join(self._children)}")
        return self._children[name]

    def faults(self) -> list[str]:
        """Return what is wrong with each child that cannot be kept running."""
        return [child.fault for child in self._children.values() if child.fault]

    async def open_forkserver(self, cwd: Path, env: Mapping[str, str], modules: Sequence[str]) -> None:
        """Start the process that imports `modules` and from which Python apps in `cwd` are then forked.

        Only on Linux, where a forked app can be made to end with the process that it was forked from.
        """
        if sys.platform != "linux":
            return
        self._forkserver = ForkServerClient(cwd, env, modules, self._logs / "forkserver.log")
        await self._forkserver.open()

    async def close_forkserver(self) -> None:
        """End the fork server; what it has forked has been stopped before."""
        if self._forkserver is not None:
            await self._forkserver.close()
            self._forkserver = None

    async def _spawn(self, program: Program, log: Path) -> Running:
        running = await self._fork_or_execute(program, log)
        note_process(self._notes, program.name, running.pid)
        return running

    async def _fork_or_execute(self, program: Program, log: Path) -> Running:
        if self._forkserver is not None and self._forkserver.takes(program):
            try:
                return await self._forkserver.fork(program, log)
            except ForkServerLostError:
                logger.warning("the fork server is lost (see forkserver.log); %s starts by itself", program.name)
        return await execute(program, log)

    async def start(self, programs: Iterable[Program]) -> None:
        """Start programs, all at once; the log of the run before is kept as `.log.1`."""
        children = []
        for program in programs:
            log = self._logs / f"{program.name}.log"
            if log.exists():
                log.replace(log.with_suffix(".log.1"))
            child = Supervised(program, log, self._spawn, restart=self._restart)
            self._children[program.name] = child
            children.append(child)
        await asyncio.gather(*(child.start() for child in children))

    async def stop(self, names: Iterable[str]) -> None:
        """End those of the named children that there are, all at once, and wait until they are gone."""
        children = [self._children[name] for name in names if name in self._children]
        await asyncio.gather(*(child.stop(self._hurry) for child in children))

    async def forewarn(self, names: Iterable[str]) -> None:
        """Send the named children SIGTERM, and return at once; `stop` comes after."""
        for name in names:
            if name in self._children:
                self._children[name].forewarn()

    def hurry(self) -> None:
        """Make every stop, also one under way, kill at once."""
        self._loop.call_soon_threadsafe(self._hurry.set)

    def close(self) -> None:
        """End the fork server, the loop and its thread; the children have been stopped before."""
        self.call(self.close_forkserver())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
