"""The table: rows are behaviours, columns transports; a cell is how it fared, or a declared exception.

`python -m tests.conformance.table` writes it into components/README.md, as the declarations have it.
"""

from collections.abc import Mapping
from typing import Final, Literal

from dovecote.cli.pages import with_table
from dovecote.topics import Capabilities
from tests.conformance.behaviours import CHECKOUT, behaviours, transports

Cell = Literal["pass", "FAIL"]
PAGE: Final = CHECKOUT / "components" / "README.md"
BEGIN: Final = "<!-- behaviours: written by `make pages` -->"
END: Final = "<!-- end of behaviours -->"


def render(brokers: Mapping[str, Capabilities], cells: Mapping[tuple[str, str], Cell]) -> str:
    """The table of a run, for a terminal: only the transports that took part, and the reasons below."""
    shown = {name: row for name, row in brokers.items() if any(name == transport for _, transport in cells)}
    reasons = _reasons(shown)
    sentences = {key: text for key, text in behaviours().items() if any(key == row for row, _ in cells)}
    width = max(map(len, sentences.values()), default=0)
    lines = [" ".join([" " * width, *(f"{name:>10}" for name in shown)])]
    for key, sentence in sentences.items():
        row = [_told(cells.get((key, name), "-"), shown[name], key, reasons) for name in shown]
        lines.append(" ".join([f"{sentence:{width}}", *(f"{cell:>10}" for cell in row)]))
    return "\n".join([*lines, "", *(f"({number}) {reason}" for reason, number in reasons.items())]) + "\n"


def told(
    origins: Mapping[str, str], missing: Mapping[str, str], left_out: Mapping[str, int], *, must_run: bool
) -> list[str]:
    """A line for each broker: how the one that ran was come by, or why another did not run.

    `left_out` counts, of one that ran, the tests that did not, since they would restart somebody else's server.
    """
    failed = ", which is a failure where CI is set" if must_run else ""
    parts = {
        name: f"; {count} of its tests not run, they restart the broker and somebody else runs it{failed}"
        for name, count in left_out.items()
    }
    return [
        *(f"{name}: ran, {origin}{parts.get(name, '')}" for name, origin in origins.items()),
        *(f"{name}: not run, {reason}{failed}" for name, reason in missing.items()),
    ]


def markdown(brokers: Mapping[str, Capabilities]) -> str:
    """The table as it is declared, for a page."""
    reasons = _reasons(brokers)
    lines = [f"| what holds | {' | '.join(brokers)} |", f"| --- |{' --- |' * len(brokers)}"]
    for key, sentence in behaviours().items():
        row = [_told("yes", broker, key, reasons) for broker in brokers.values()]
        lines.append(f"| {sentence} | {' | '.join(row)} |")
    return "\n".join([*lines, "", *(f"({number}) {reason}" for reason, number in reasons.items())])


def _reasons(brokers: Mapping[str, Capabilities]) -> dict[str, int]:
    """Every reason that is declared, numbered."""
    told = dict.fromkeys(reason for broker in brokers.values() for reason in broker.exceptions.values())
    return {reason: number for number, reason in enumerate(told, 1)}


def _told(cell: str, broker: Capabilities, key: str, reasons: Mapping[str, int]) -> str:
    reason = broker.exceptions.get(key)
    return f"({reasons[reason]})" if reason and cell != "FAIL" else cell


def page() -> str:
    """components/README.md with the table in its place."""
    return with_table(PAGE.read_text(), markdown(transports()), BEGIN, END)


if __name__ == "__main__":
    PAGE.write_text(page())
