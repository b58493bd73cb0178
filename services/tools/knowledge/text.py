"""Plain text to blocks."""

import re

from services.tools.knowledge.blocks import Block

_PARAGRAPH = re.compile(r"[^\n]*\S[^\n]*(?:\n[^\n]*\S[^\n]*)*")


def read_text(text: str, page: int | None = None) -> list[Block]:
    """The paragraphs of a text, which blank lines divide; `page` is the page of a PDF that the text is of."""
    blocks: list[Block] = []
    line, reached = 1, 0
    for match in _PARAGRAPH.finditer(text):
        line += text.count("\n", reached, match.start())
        reached = match.start()
        blocks.append(Block(match.group(), line, line + match.group().count("\n"), page=page))
    return blocks
