"""What the tests measured, as a table."""

from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from tests.k8s.load_pod import Report

_COLUMNS = ("what happened", "broker", "asked", "answered", "wrong", "failed requests", "median", "slowest", "note")


@dataclass
class Results:
    """What the tests measured, for the table at the end."""

    rows: list[dict[str, str]] = field(default_factory=list)

    def add(self, what: str, broker: str, report: Report | None = None, note: str = "") -> None:
        """Add a row: what happened, on which broker, and what a load came to."""
        told = (
            {}
            if report is None
            else {
                "asked": str(report.asked),
                "answered": str(report.answered),
                "wrong": str(len(report.wrong)),
                "failed requests": f"{len(report.failed)} of {report.requests}",
                "median": f"{report.median:.1f} s",
                "slowest": f"{report.slowest:.1f} s",
            }
        )
        self.rows.append({"what happened": what, "broker": broker, **told, "note": note})

    def table(self) -> str:
        """All rows as text."""
        table = Table(*_COLUMNS)
        for row in self.rows:
            table.add_row(*(row.get(column, "") for column in _COLUMNS))
        console = Console(width=160)
        with console.capture() as captured:
            console.print(table)
        return captured.get()


RESULTS = Results()
