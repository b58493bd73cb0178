"""What every document format is read into."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, list item, table, piece of code or heading.

    Lines count from 1, the last included; in a PDF they are lines of the text of one page. `level` is 1 to 6 for a
    heading and 0 for all else.
    """

    text: str
    first_line: int
    last_line: int
    level: int = 0
    page: int | None = None


class UnreadableError(Exception):
    """A document that cannot be read; the text is the reason, without the file's name."""
