"""HTML to blocks: the text of each block element, with the lines it stands on."""

import io
import re

from bs4 import BeautifulSoup
from bs4.element import NavigableString, Tag

from services.tools.knowledge.blocks import Block

_BLOCK_NAMES = """
address article aside blockquote body caption dd details div dl dt fieldset figcaption figure footer form
h1 h2 h3 h4 h5 h6 header html legend li main nav ol p pre section summary table title tr ul
"""
_BLOCK_TAGS = frozenset(_BLOCK_NAMES.split())
_UNSEEN = ("script", "style", "template", "noscript", "svg")
_HEADING = re.compile(r"h([1-6])")
_XML_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")


def read_html(text: str) -> list[Block]:
    """Blocks of an HTML page: what a reader sees, a table's row as one block.

    The title is a heading where the page has no h1.
    """
    # From a file: given a text, the library may take it for the name of one.
    soup = BeautifulSoup(io.StringIO(_XML_DECLARATION.sub(_blank, text)), "html.parser")
    unseen = soup(_UNSEEN if soup.h1 is None else [*_UNSEEN, "title"])
    for tag in unseen:
        if not tag.decomposed:
            # The lines below keep their numbers.
            tag.replace_with("\n" * str(tag).count("\n"))
            tag.decompose()
    return _Reader().read(soup)


def _blank(match: re.Match[str]) -> str:
    return "\n" * match.group().count("\n")


class _Reader:
    """Walks a tree in the order of its source, gathering the strings of one block element after the other."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._strings: list[str] = []
        self._owner: Tag | None = None
        self._first = self._last = 1

    def read(self, soup: BeautifulSoup) -> list[Block]:
        line = 1
        for element in soup.descendants:
            if isinstance(element, Tag):
                line = element.sourceline or line
                if element.name in {"td", "th"} and element.parent is self._owner and self._strings:
                    self._strings.append(" | ")
                elif element.name == "br":
                    self._strings.append("\n")
            elif isinstance(element, NavigableString):
                # Comments, doctypes and the like are subclasses, and not for readers.
                if type(element) is NavigableString:
                    self._take(element, line)
                line += element.count("\n")
        self._flush()
        return self._blocks

    def _take(self, string: NavigableString, line: int) -> None:
        owner = next(tag for tag in string.parents if tag.name in _BLOCK_TAGS or tag.parent is None)
        if owner is not self._owner:
            self._flush()
            self._owner = owner
        if string.strip():
            if not "".join(self._strings).strip():
                self._first = line + string[: -len(string.lstrip())].count("\n")
            self._last = line + string.rstrip().count("\n")
        self._strings.append(string)

    def _flush(self) -> None:
        text, self._strings = "".join(self._strings), []
        name = self._owner.name if self._owner else ""
        text = text.strip("\n") if name == "pre" else " ".join(text.split())
        heading = _HEADING.fullmatch(name.replace("title", "h1"))
        if text.strip():
            level = int(heading[1]) if heading else 0
            # Documentation generators end headings with a link sign.
            self._blocks.append(Block(text.rstrip("\u00b6") if level else text, self._first, self._last, level))
