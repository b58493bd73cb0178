"""Profiles of the measured apps: where the time of their main threads goes."""

import io
import os
import pstats
import signal
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Final

from deploy.local.runfile import App
from deploy.local.system import System

_LINES: Final = 20
# The folder for the profiles of the apps that are started; None: they run as they are.
FOLDER: Final[ContextVar[Path | None]] = ContextVar("profiles", default=None)


def profiled(apps: Sequence[App]) -> list[App]:
    """The apps, under a profiler if there is a folder for their profiles; their commands are `python … -m …`."""
    folder = FOLDER.get()
    if folder is None:
        return list(apps)
    return [app.model_copy(update={"command": _command(app, folder)}) for app in apps]


def _command(app: App, folder: Path) -> tuple[str, ...]:
    module = app.command.index("-m") + 1
    return (sys.executable, "-u", "-m", "bench.apps.profiled", str(folder / app.app_id), *app.command[module:])


def begin(system: System) -> None:
    """Begin the profiles, if there are to be any."""
    if FOLDER.get() is not None:
        for name in system.apps:
            pid = system.pid(name)
            if pid is not None:
                os.kill(pid, signal.SIGUSR1)


def report(folder: Path) -> str:
    """Of each app the functions that took most time by themselves."""
    text = io.StringIO()
    for file in sorted(folder.iterdir()):
        print(f"--- {file.name}", file=text)
        stats = pstats.Stats(str(file), stream=text)
        stats.strip_dirs().sort_stats(pstats.SortKey.TIME).print_stats(_LINES)
    return text.getvalue()
