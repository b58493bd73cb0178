"""`python -m deploy.local up` runs the whole system on this machine; `down` ends one that runs elsewhere."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from deploy.local.errors import LauncherError
from deploy.local.foreground import run
from deploy.local.leftovers import end_leftovers
from deploy.local.progress import Progress
from deploy.local.runlock import RunLock
from deploy.local.supervisor import NOTES
from deploy.local.system import GATEWAY, System

CHECKOUT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    progress = Progress()
    try:
        return (
            down(options.home or options.checkout, progress)
            if options.command == "down"
            else _up(options, progress)
        )
    except LauncherError as error:
        progress.note(f"error: {error}")
        return 1


def down(home: Path, progress: Progress) -> int:
    """End the system that runs in `home`, and what a killed one left behind; returns the exit status."""
    lock = RunLock(home.resolve())
    if lock.end_holder():
        progress.note("ended")
        return 0
    lock.acquire()
    try:
        left = end_leftovers(home.resolve(), lock.path.parent / NOTES)
    finally:
        lock.release()
    progress.note(
        f"nothing runs here; {left} processes that were left behind are ended" if left else "nothing runs here"
    )
    return 0


def _up(options: argparse.Namespace, progress: Progress) -> int:
    apps = [] if options.infra else options.apps
    system = System(
        options.checkout,
        options.home,
        apps=apps,
        broker=options.broker,
        llm=options.llm,
        as_written=options.infra,
        progress=Progress(Console(quiet=True)) if options.quiet else progress,
    )

    def announce(system: System) -> None:
        if options.infra:
            sys.stdout.write(f"Servers are up. In another shell: . {system.env_file} && dapr run -f dapr.yaml\n")
        elif GATEWAY in system.apps:
            sys.stdout.write(f"Ready: {system.url()}\n")
        else:
            sys.stdout.write("Ready\n")
        sys.stdout.flush()

    return run(system, progress, announce, once=options.once)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    parser.add_argument("--checkout", type=Path, default=CHECKOUT, help="folder with dapr.yaml and the code")
    parser.add_argument("--home", type=Path, help="folder whose .dovecote keeps the data (default: the checkout)")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="run until Ctrl-C")
    up.add_argument("--broker", help="a folder of components/pubsub")
    up.add_argument("--llm", help="a folder of components/llm")
    up.add_argument("--apps", nargs="+", metavar="APP", help="only these apps of dapr.yaml")
    up.add_argument("--infra", action="store_true", help="only the servers, for `dapr run -f dapr.yaml` by hand")
    up.add_argument("--once", action="store_true", help="end when everything is ready, with status 1 if it is not")
    up.add_argument("--quiet", action="store_true", help="print nothing but the address")
    commands.add_parser("down", help="end the system that runs in this folder")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
