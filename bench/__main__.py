"""`python -m bench`: measure, and write the results."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from bench import conversation, inbox, turn, whole
from bench.profiles import FOLDER, report
from bench.results import Results, has_table, line
from bench.rows import Row
from deploy.local.progress import Progress
from deploy.local.runtime import get_runtime

GROUPS: Final[dict[str, Callable[[str | None], list[Row]]]] = {
    "inbox": inbox.measure,
    "turn": turn.measure,
    "conversation": conversation.measure,
    "whole": whole.measure,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; all if none is named")
    parser.add_argument("--broker", help="a folder of components/pubsub: its inbox only, in a table of its own")
    parser.add_argument("--print", action="store_true", help="print the rows, and write nothing")
    parser.add_argument("--profile", action="store_true", help="print where the apps' time goes, and write nothing")
    options = parser.parse_args(arguments)
    if unknown := set(options.groups) - set(GROUPS):
        parser.error(f"there is no group {', '.join(map(repr, sorted(unknown)))}; there are: {', '.join(GROUPS)}")
    if not (options.print or options.profile or has_table(options.broker)):
        parser.error(f"bench/README.md has no place for a table of {options.broker!r}: use --print, or make one")
    groups = options.groups or (["inbox"] if options.broker else list(GROUPS))
    dapr = get_runtime(Progress(Console(quiet=True))).version
    before = os.getloadavg()[0]
    if options.profile:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            FOLDER.set(Path(folder))
            _measured(groups, options.broker)
            print(report(Path(folder)))
        return 0
    rows = _measured(groups, options.broker)
    if not options.print:
        print(Results.of(rows, load_before=before, dapr=dapr).write(options.broker))
    return 0


def _measured(groups: Sequence[str], broker: str | None) -> list[Row]:
    rows = []
    for group in groups:
        for row in GROUPS[group](broker):
            rows.append(row)
            print(line(row), end="", flush=True)
    return rows


if __name__ == "__main__":
    sys.exit(main())
