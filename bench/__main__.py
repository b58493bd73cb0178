"""`python -m bench`: measure, and write the results."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final

from rich.console import Console

from bench import inbox, turn, whole
from bench.results import Results, line
from bench.rows import Row
from deploy.local.progress import Progress
from deploy.local.runtime import get_runtime

GROUPS: Final[dict[str, Callable[[], list[Row]]]] = {
    "inbox": inbox.measure,
    "turn": turn.measure,
    "whole": whole.measure,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("groups", nargs="*", choices=[*GROUPS, []], help="what to measure; all if none is named")
    parser.add_argument("--print", action="store_true", help="print the rows, and write nothing")
    options = parser.parse_args(arguments)
    dapr = get_runtime(Progress(Console(quiet=True))).version
    before = os.getloadavg()[0]
    rows = []
    for group in options.groups or GROUPS:
        for row in GROUPS[group]():
            rows.append(row)
            print(line(row), end="", flush=True)
    if not options.print:
        print(Results.of(rows, load_before=before, dapr=dapr).write())
    return 0


if __name__ == "__main__":
    sys.exit(main())
