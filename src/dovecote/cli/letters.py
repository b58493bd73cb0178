"""What `dovecote dlq` shows of dead letters: lines to read, or a whole letter."""

import json
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dovecote.cli.rendering import plain, shortened, table_of
from dovecote.deadletters import DeadLetter, DeadLetterRow, Reason


def letters_table(rows: Iterable[DeadLetterRow]) -> Table:
    """A row for each letter: id, consumer, when, topic, type, tries, and the last reason."""
    table = table_of("Id", "Consumer", "Since", "Topic", "Type", "Tries", "Again", "Reason")
    for row in rows:
        since = row.since.astimezone().strftime("%m-%d %H:%M:%S")
        again = "may help" if row.retryable else "will not"
        reason = shortened(f"{row.error}: {row.reason}")
        cells = [row.id, row.consumer, since, row.topic, row.type, str(row.attempts), again, reason]
        table.add_row(*map(Text, cells))
    return table


def acted_line(row: DeadLetterRow) -> Text:
    """What became of a letter that was acted on."""
    line = Text.assemble(
        (f"{row.state:<10}", "red" if row.state == "open" else "green"), f"{row.id}  {row.consumer}"
    )
    if row.state == "open":
        line.append(f"  failed again: {row.error}: {row.reason}")
    return line


def show_letter(console: Console, letter: DeadLetter) -> None:
    """Print a letter: how it stands at each consumer and what was done, every reason, and the message."""
    plain(console, f"message {letter.id}")
    for consumer, standing in letter.consumers.items():
        times = f", resubmitted {standing.resubmissions} times" if standing.resubmissions else ""
        plain(console, f"{consumer}: {standing.state} since {_at(standing.since)}{times}")
        for note in standing.notes:
            plain(console, f"  {_at(note.at)}  {note.what}{f': {note.text}' if note.text else ''}")
    for reason in letter.reasons:
        plain(console, f"\n{_headline(reason)}")
        plain(console, Text(reason.traceback.strip(), style="dim"))
    if letter.left_out:
        plain(console, f"\nkept without content and tracebacks: {letter.left_out}")
    content = letter.message.model_dump(mode="json", exclude_none=True) if letter.message else letter.event
    if content is not None:
        plain(console, f"\n{json.dumps(content, indent=2, ensure_ascii=False)}")


def _headline(reason: Reason) -> str:
    when = f"{_at(reason.at)}, " if reason.at else ""
    number = f", resubmission {reason.resubmission}" if reason.resubmission else ""
    place = f"{reason.consumer} on {reason.topic}: attempt {reason.attempt}{number}"
    return f"{when}{place}: {reason.error}: {reason.reason}"


def _at(at: object) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S %Z}"
