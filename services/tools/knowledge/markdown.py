"""Markdown to blocks, in the words of the source, so that what is cited can be found."""

from collections.abc import Iterator

from bs4 import BeautifulSoup
from markdown_it import MarkdownIt
from markdown_it.token import Token

from services.tools.knowledge.blocks import Block
from services.tools.knowledge.text import read_text

_OPTIONS = {"maxNesting": 100}
# Inline markup is parsed only where it is needed, which is half of the work.
_BLOCKS = MarkdownIt("commonmark", _OPTIONS).enable("table").disable("inline")
_INLINE = MarkdownIt("commonmark", _OPTIONS)
_LEAVES = frozenset({"paragraph_open", "fence", "code_block", "table_open", "html_block", "heading_open"})
_FRONT_MATTER = "---"
_FENCES = 2  # lines of it, before and after


def read_markdown(text: str) -> list[Block]:
    """Blocks of a CommonMark text with tables and, at its start, YAML front matter."""
    lines = text.split("\n")
    front = _front_matter_end(lines)
    blocks = [Block("\n".join(lines[1 : front - 1]), 2, front - 1)] if front > _FENCES else []
    # Blank lines in place of the front matter keep the line numbers.
    body = "\n".join([""] * front + lines[front:])
    blocks += _blocks(_BLOCKS.parse(body), lines)
    # What the parser gives nothing for, such as quotes in quotes without end, is a text all the same.
    return blocks or read_text(text)


def _front_matter_end(lines: list[str]) -> int:
    """Number of lines that front matter takes, 0 without any."""
    if lines[0].rstrip() != _FRONT_MATTER:
        return 0
    return next((end + 2 for end, line in enumerate(lines[1:]) if line.rstrip() == _FRONT_MATTER), 0)


def _blocks(tokens: list[Token], lines: list[str]) -> Iterator[Block]:
    covered = 0
    for index, token in enumerate(tokens):
        if token.map is None or token.type not in _LEAVES or token.map[0] < covered:
            continue
        first, last = token.map
        while last > first + 1 and not lines[last - 1].strip():
            last -= 1
        covered = last
        level = int(token.tag[1]) if token.type == "heading_open" else 0
        text = _plain(tokens[index + 1].content) if level else "\n".join(lines[first:last])
        if token.type == "html_block":
            text = BeautifulSoup(text, "html.parser").get_text()
        if text.strip():
            yield Block(text, first + 1, last, level)


def _plain(inline: str) -> str:
    tokens = _INLINE.parseInline(inline)[0].children or []
    return "".join(token.content or " " for token in tokens if token.type in _WORDS)


_WORDS = frozenset({"text", "code_inline", "softbreak", "hardbreak", "text_special"})
