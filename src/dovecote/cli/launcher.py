"""The one door to the launcher in deploy/local, which belongs to a checkout and not to the library."""

import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from rich.console import Console

from dovecote.cli.errors import CommandError


def serve(
    checkout: Path, on_ready: Callable[[str], None], *, broker: str | None, llm: str | None, once: bool
) -> int:
    """Keep the system of a checkout up until Ctrl-C; returns the exit status.

    `on_ready` is called with the gateway's address when everything is ready; with `once` the system ends after
    it. `broker` and `llm` name folders of components. Raises CommandError where the launcher cannot start.
    """
    progress = load(checkout, "progress").Progress()
    systems = load(checkout, "system")
    try:
        system = systems.System(checkout, broker=broker, llm=llm, progress=progress)
        foreground = load(checkout, "foreground")
        return int(foreground.run(system, progress, lambda ready: on_ready(ready.url()), once=once))
    except load(checkout, "errors").LauncherError as error:
        raise CommandError(str(error)) from error


def bridge(checkout: Path, old: str, new: str, *, idle: float, quiet: bool) -> dict[str, int]:
    """Move what waits on one broker to another, named as folders of components/pubsub; counts by topic.

    It is done when nothing has come for `idle` seconds. Raises CommandError where it cannot be.
    """
    bridges = load(checkout, "bridge")
    progress = load(checkout, "progress").Progress(Console(stderr=True, quiet=quiet))
    try:
        move = bridges.Move(checkout, checkout, old, new)
        moved: dict[str, int] = bridges.run(move, dict(os.environ), idle, progress)
    except load(checkout, "errors").LauncherError as error:
        raise CommandError(str(error)) from error
    return moved


def seconds_since_start() -> float:
    """Seconds since this process was started, imports included."""
    # The launcher needs psutil; the commands that only talk to a gateway do without.
    psutil = importlib.import_module("psutil")
    return time.time() - float(psutil.Process().create_time())


def load(checkout: Path, module: str) -> ModuleType:
    """A module of the checkout's launcher, by its name in deploy/local."""
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    return importlib.import_module(f"deploy.local.{module}")
