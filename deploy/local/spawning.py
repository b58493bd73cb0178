"""Starting processes: as a program of their own, or, for Python apps, as a fork of the fork server."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_LEAST_WORDS = 3


@dataclass(frozen=True)
class Program:
    """What is to be run; the name is also its log's, and `stop_seconds` its time to end after SIGTERM."""

    name: str
    command: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    stop_seconds: float = 10.0


class Running(Protocol):
    """A process that runs: it leads a process group of its own."""

    @property
    def pid(self) -> int:
        """Its process id."""

    async def wait(self) -> int:
        """Return its exit status when it has ended; -N if signal N killed it."""


class ForkServerLostError(Exception):
    """The fork server is gone."""


async def execute(program: Program, log: Path) -> Running:
    """Start a program in a session of its own, its output appended to the log."""
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *die_with_parent(),
            *program.command,
            cwd=program.cwd,
            env=program.env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )


def die_with_parent(with_signal: signal.Signals = signal.SIGKILL) -> tuple[str, ...]:
    """Return what to put before a command so that its process ends with the one that starts it, if that can be."""
    # PR_SET_PDEATHSIG has to be set in the child. A preexec function is unsafe in a process with threads; a
    # tiny program that sets it and then becomes the real one is safe. Where it is missing (not Linux),
    # leftovers are still ended at the next start.
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", with_signal.name.removeprefix("SIG"), "--") if setpriv else ()


@dataclass(frozen=True)
class _Forked:
    pid: int
    status: asyncio.Future[int]

    async def wait(self) -> int:
        return await asyncio.shield(self.status)


class ForkServerClient:
    """The launcher's end of a fork server in `cwd` that imports `modules`; belongs to one event loop."""

    def __init__(self, cwd: Path, env: Mapping[str, str], modules: Sequence[str], log: Path) -> None:
        self._cwd = cwd
        self._env = env
        self._modules = modules
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._answers: asyncio.Task[None] | None = None
        self._asked: dict[int, asyncio.Future[Running]] = {}
        self._alive: dict[int, _Forked] = {}
        self._count = 0

    async def open(self) -> None:
        """Start the fork server; it imports while this returns."""
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *die_with_parent(),
                sys.executable,
                "-m",
                "deploy.local.forkserver",
                *self._modules,
                cwd=self._cwd,
                env=self._env,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        if self._process.stdout is not None:
            self._answers = asyncio.create_task(self._read(self._process.stdout), name="forkserver")

    def takes(self, program: Program) -> bool:
        """Say whether a fork would be the same as the command: `python -m`, this interpreter, this folder."""
        if len(program.command) < _LEAST_WORDS or program.command[1] != "-m":
            return False
        interpreter = Path(os.path.normpath(program.cwd / program.command[0]))
        same = interpreter.parent == Path(sys.executable).parent and interpreter.name.startswith("python")
        here = program.cwd.resolve() == self._cwd
        return same and here and _python_env(program.env) == _python_env(self._env)

    async def fork(self, program: Program, log: Path) -> Running:
        """Fork a process that becomes the program; raises ForkServerLostError if the fork server is gone."""
        if self._process is None or self._process.stdin is None or self._answers is None or self._answers.done():
            raise ForkServerLostError
        self._count += 1
        request = {
            "number": self._count,
            "name": program.name,
            "module": program.command[2],
            "arguments": program.command[3:],
            "cwd": str(program.cwd),
            "env": dict(program.env),
            "log": str(log),
        }
        answer: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
        self._asked[self._count] = answer
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        return await answer

    async def close(self) -> None:
        """End the fork server, which keeps nothing, even if it still imports."""
        if self._process is not None and self._process.stdin is not None and self._answers is not None:
            if self._process.returncode is None:
                self._process.kill()
            self._process.stdin.close()
            await self._answers
            await self._process.wait()

    async def _read(self, answers: asyncio.StreamReader) -> None:
        async for line in answers:
            self._note(json.loads(line))
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(ForkServerLostError())
        for forked in self._alive.values():
            forked.status.set_result(-signal.SIGKILL)

    def _note(self, answer: dict[str, int]) -> None:
        if "number" in answer:
            forked = _Forked(answer["pid"], asyncio.get_running_loop().create_future())
            self._alive[forked.pid] = forked
            asked = self._asked.pop(answer["number"])
            if not asked.done():
                asked.set_result(forked)
        else:
            self._alive.pop(answer["pid"]).status.set_result(answer["status"])


def _python_env(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith("PYTHON")}
