"""The systems that are measured, each in a home of its own that is gone afterwards."""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console

from bench.profiles import begin, profiled
from deploy.local.progress import Progress
from deploy.local.runfile import App, load_run_file
from deploy.local.system import System
from tests.support.brokers import broker_setup

_LOG_END: Final = 2_000  # characters
CHECKOUT: Final = Path(__file__).resolve().parents[1]


# Not a plain `python -m`, which the launcher would fork from a process that has imported the library: here
# each app is a process by itself, as it is in a container.
_PYTHON: Final = (sys.executable, "-u", "-m")


def served(name: str) -> App:
    """A Dovecote app of this folder, by its app-id."""
    return App(app_id=name, command=(*_PYTHON, "dovecote.serve", f"bench.apps.{name}"))


def plain(name: str) -> App:
    """An app of this folder that serves itself."""
    return App(app_id=name, command=(*_PYTHON, f"bench.apps.{name}"))


@contextmanager
def fresh_home() -> Iterator[Path]:
    """An empty folder for a system's data."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield Path(folder)


@contextmanager
def running(
    apps: Sequence[str | App] | None,
    env: Mapping[str, str] | None = None,
    *,
    with_model: bool = False,
    broker: str | None = None,
) -> Iterator[System]:
    """A system of those apps that is ready; all of `dapr.yaml` for None, on its broker if no other is named.

    An error gets the ends of the apps' logs as notes: they are gone with the home.
    """
    quiet = {"DOVECOTE_LOG_LEVEL": "warning", **(env or {})}
    with fresh_home() as home, broker_setup(broker or "redis", home) as setup:
        progress = Progress(Console(quiet=True))
        chosen = profiled(load_run_file(CHECKOUT / "dapr.yaml").select(apps))
        with System(
            CHECKOUT,
            home,
            apps=chosen,
            broker=broker,
            brokers=setup.brokers,
            env={**quiet, **setup.env},
            with_model=with_model,
            progress=progress,
        ) as system:
            try:
                begin(system)
                yield system
            except BaseException as error:
                for name in [*system.apps, *map(sidecar, system.apps)]:
                    error.add_note(f"--- {name}\n{system.log(name)[-_LOG_END:]}")
                raise


def sidecar(app: str) -> str:
    """The name of an app's sidecar among the processes of a system."""
    return f"{app}-daprd"
