"""The foreground: a system that runs until it is interrupted, and says what happens."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from deploy.local.errors import CrashLoopError, NotReadyError
from deploy.local.progress import Progress
from deploy.local.system import System

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(
    system: System,
    progress: Progress,
    on_ready: Callable[[System], None] | None = None,
    *,
    once: bool = False,
) -> int:
    """Keep a system up until Ctrl-C or SIGTERM, with `on_ready` called once it is ready; returns the exit status.

    Problems are noted on `progress`, the phases on the system's own (which may be a quiet one).
    With `once` it ends after `on_ready`, with status 1 if it did not become ready; else what works is kept
    serving. A first interrupt ends the system in order, a second one kills it. Call it from the main thread.
    """
    handler = _Notes(progress)
    logger = logging.getLogger("deploy.local")
    logger.addHandler(handler)
    try:
        with _Interrupts(system) as interrupts:
            try:
                return _serve(system, progress, on_ready, once=once)
            except KeyboardInterrupt:
                return 0
            finally:
                interrupts.stopping = True
                with system.progress.step("Stopping"):
                    system.stop()
    finally:
        logger.removeHandler(handler)


def _serve(system: System, progress: Progress, on_ready: Callable[[System], None] | None, *, once: bool) -> int:
    system.start()
    try:
        with system.progress.step(f"{len(system.apps)} services with sidecars" if system.apps else "model"):
            system.wait_ready()
    except NotReadyError as error:
        if not isinstance(error, CrashLoopError):
            progress.note(str(error))
        if once:
            return 1
        progress.note("What works is kept serving; Ctrl-C ends it.")
    else:
        if on_ready is not None:
            on_ready(system)
        if once:
            return 0
    while True:
        signal.pause()


class _Interrupts:
    """Turns the first signal into KeyboardInterrupt and a further one into a hurry."""

    def __init__(self, system: System) -> None:
        self.stopping = False
        self._system = system
        self._count = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(self, *_exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self._count > 1:
            self._system.hurry()
        elif not self.stopping:
            raise KeyboardInterrupt


class _Notes(logging.Handler):
    """Shows what the launcher logs among the lines of the progress."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(logging.INFO)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        self._progress.note(record.getMessage())
