"""Results of a run: kept as JSON, and shown as the table in README.md."""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

import psutil
from pydantic import BaseModel, ConfigDict, Field

from bench.rows import Goal, Row

_FOLDER: Final = Path(__file__).parent
_README: Final = _FOLDER / "README.md"
_HEAD: Final = "| what | ours | reference | ratio | goal | met | how |\n|---|---|---|---|---|---|---|\n"


class Results(BaseModel):
    """What was measured when, on which commit and machine; `load` is the load average before and after."""

    model_config = ConfigDict(frozen=True)

    date: str = Field(default_factory=lambda: datetime.now(UTC).date().isoformat())
    commit: str
    dapr: str
    machine: str
    load: tuple[float, float]
    rows: list[Row]

    @classmethod
    def of(cls, rows: Sequence[Row], *, load_before: float, dapr: str) -> Self:
        """The results of a run that ends now."""
        return cls(
            commit=_git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain") else ""),
            dapr=dapr,
            machine=_machine(),
            load=(load_before, os.getloadavg()[0]),
            rows=list(rows),
        )

    def write(self, broker: str | None = None) -> Path:
        """Write the JSON file of the day and the table, those of a broker if one is named; returns the file."""
        path = _FOLDER / "results" / f"{self.date}{f'-{broker}' if broker else ''}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(self.model_dump_json(indent=1) + "\n")
        _README.write_text(with_table(_README.read_text(), self.table(), broker or "results"))
        return path

    def table(self) -> str:
        """The rows as a Markdown table, under a line that says when and where."""
        before, after = self.load
        head = (
            f"{self.date}, commit {self.commit}, Dapr {self.dapr}, {self.machine}; "
            f"load average {before:.1f} before, {after:.1f} after.\n\n"
        )
        return head + _HEAD + "".join(line(row) for row in self.rows)


def has_table(broker: str | None) -> bool:
    """Whether the page has a place for the table of a broker, or for the main one."""
    return _marks(broker or "results")[0] in _README.read_text()


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"


def with_table(page: str, table: str, name: str = "results") -> str:
    """The page with the table between the markers of that name. Raises ValueError for a page without them."""
    begin, end = _marks(name)
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"the page has no markers <!-- {name}: begin --> and <!-- {name}: end -->")
    return before + begin + table + end + after


def figure(value: float | None) -> str:
    """A number with three digits that count."""
    if value is None:
        return "-"
    if abs(value) >= 100:  # noqa: PLR2004 - where three digits are whole ones
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def line(row: Row) -> str:
    """A row of the table."""
    met = {True: "yes", False: "**no**", None: "-"}[row.met]
    ours = f"{figure(row.ours)} {row.unit}"
    theirs = f"{figure(row.theirs)} {row.unit}" if row.theirs is not None else "-"
    ratio = f"{figure(row.ratio)}x" if row.ratio is not None else "-"
    return f"| {row.work} | {ours} | {theirs} | {ratio} | {_goal(row.goal, row.unit)} | {met} | {row.note} |\n"


def _goal(goal: Goal | None, unit: str) -> str:
    if goal is None:
        return "-"
    sign = "≥" if goal.sense == "at least" else "≤"
    return f"{sign} {figure(goal.bound)}{'x' if goal.of == 'ratio' else f' {unit}'}"


def _machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores {platform.machine()}, {memory:.0f} GiB, Python {platform.python_version()}"


def _git(*words: str) -> str:
    command = ("git", "-C", str(_FOLDER), *words)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
