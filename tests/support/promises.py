"""Promises: each test says which rows it shows, and each run keeps how these tests ended.

A plugin of pytest, and the command `python -m tests.support.promises`, which prints the table.
"""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
import yaml
from rich.console import Console
from rich.table import Table

TESTS: Final = Path(__file__).resolve().parents[1]
_CACHE: Final = "dovecote/promises"
_MARK: Final = "promises: "


class Promises:
    """What a collection found: the rows that each test shows, and how each test ended last."""

    def __init__(self) -> None:
        self.shown: dict[str, list[str]] = {}
        self.results: dict[str, str] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            rows = [str(row) for mark in item.iter_markers("promise") for row in mark.args]
            if rows:
                self.shown[item.nodeid] = rows

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.nodeid in self.shown and (report.when == "call" or report.failed):
            self.results[report.nodeid] = report.outcome

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        cache = getattr(session.config, "cache", None)
        if cache is None:  # pytest's cache is switched off: nothing is kept
            return
        self.results = {**cache.get(_CACHE, {}), **self.results}
        if session.config.getoption("--promises"):
            sys.stdout.write(f"\n{_MARK}{json.dumps([self.shown, self.results])}\n")
        else:
            cache.set(_CACHE, self.results)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--promises", action="store_true", help="tell which test shows which promise")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Promises(), "promises")


def promised() -> dict[str, str]:
    """The text of each row, by its id."""
    rows: dict[str, str] = yaml.safe_load((TESTS / "promises.yaml").read_text())
    return rows


def still_open() -> dict[str, str]:
    """Why a row has no test yet, by its id."""
    lines = (TESTS / "promises-open.txt").read_text().splitlines()
    pairs = (line.partition(":") for line in lines if line and not line.startswith("#"))
    return {row: reason.strip() for row, _, reason in pairs}


def collected(checkout: Path) -> Promises:
    """What the tests of a checkout show, and how they ended last; in a process of its own, without running them."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-qq", "--promises"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode or len(lines) != 1:
        raise SystemExit(f"the tests cannot be collected:\n{done.stdout}{done.stderr}")
    found = Promises()
    found.shown, found.results = json.loads(lines[0].removeprefix(_MARK))
    return found


def faults(shown: Mapping[str, list[str]]) -> list[str]:
    """What does not agree: rows without a test or a reason, with both, and rows that nobody promised."""
    rows, excused = promised(), still_open()
    tested = {row for rows_of_test in shown.values() for row in rows_of_test}
    told = {
        "has no test, and tests/promises-open.txt does not say why": rows.keys() - tested - excused.keys(),
        "has a test, and tests/promises-open.txt lists it as open": tested & excused.keys(),
        "is marked on a test, and is no row of tests/promises.yaml": tested - rows.keys(),
        "is listed as open, and is no row of tests/promises.yaml": excused.keys() - rows.keys(),
    }
    return [f"{row} {fault}" for fault, found in told.items() for row in sorted(found)]


def main() -> int:
    """Print the table; 1 if a row lacks a test or its last result was a failure."""
    found = collected(TESTS.parent)
    tests: defaultdict[str, list[str]] = defaultdict(list)
    for test, rows in found.shown.items():
        for row in rows:
            tests[row].append(test)
    table = Table("row", "promise", "tests", "last result", show_lines=False)
    failed = False
    for row, text in promised().items():
        results = Counter(found.results.get(test, "not run") for test in tests[row])
        failed |= bool(results["failed"])
        names = sorted({test.partition("[")[0] for test in tests[row]})
        shown = ", ".join(f"{count} {result}" for result, count in results.items())
        table.add_row(row, text, "\n".join(names) or still_open().get(row, "none"), shown or "open")
    console = Console()
    console.print(table)
    for fault in (wrong := faults(found.shown)):
        console.print(fault, style="bold red", markup=False)
    return 1 if wrong or failed else 0


if __name__ == "__main__":
    sys.exit(main())
