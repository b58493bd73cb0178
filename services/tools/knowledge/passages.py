"""Blocks to passages: pieces of 60 to 200 words that make sense alone and can be cited."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from services.tools.knowledge.blocks import Block

_LEAST = 60
_MOST = 200
_SPARE = 20
_CHARACTERS_OF_A_WORD = 10
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])")


@dataclass(frozen=True, slots=True)
class Piece:
    """A passage of a document: its lines, the page of a PDF, and the headings above it, outermost first."""

    heading: str
    text: str
    first_line: int
    last_line: int
    page: int | None


def cut(blocks: Iterable[Block]) -> Iterator[Piece]:
    """Passages of a document in its order.

    A heading or a page always begins a new one; a block is cut only when it is longer than a passage may be. A
    heading with nothing under it is a passage of its own.
    """
    path: list[Block] = []
    body: list[Block] = []
    for block in blocks:
        if not block.level:
            body.append(block)
            continue
        yield from _section(path, body, bare=not body and bool(path) and path[-1].level >= block.level)
        body = []
        path = [*(heading for heading in path if heading.level < block.level), block]
    yield from _section(path, body, bare=not body and bool(path))


def _section(path: list[Block], body: list[Block], *, bare: bool) -> Iterator[Piece]:
    heading = " > ".join(" ".join(block.text.split()) for block in path)
    for group in _groups([part for block in body for part in _parts(block)]) or ([path[-1:]] if bare else []):
        text = group[0].text
        for before, after in pairwise(group):
            adjoining = after.first_line <= before.last_line + 1
            text += ("\n" if adjoining else "\n\n") + after.text
        yield Piece(heading, text, group[0].first_line, group[-1].last_line, group[0].page)


def _groups(blocks: list[Block]) -> list[list[Block]]:
    groups: list[list[Block]] = []
    size = 0
    for block in blocks:
        words = _words(block.text)
        last = groups[-1] if groups else []
        # What ends in a colon belongs to what follows it.
        full = size >= _LEAST and not last[-1].text.rstrip().endswith(":")
        if not last or full or size + words > _MOST or last[-1].page != block.page:
            groups.append([])
            size = 0
        groups[-1].append(block)
        size += words
    return _with_its_end(groups, size)


def _with_its_end(groups: list[list[Block]], size: int) -> list[list[Block]]:
    """The same groups, a short last one joined to the one before it where both nearly fit."""
    if len(groups) > 1 and size < _LEAST and groups[-2][-1].page == groups[-1][0].page:
        *others, before, last = groups
        if sum(_words(block.text) for block in before) + size <= _MOST + _SPARE:
            return [*others, before + last]
    return groups


def _words(text: str) -> int:
    # Languages without spaces, and long lines of data, count by their characters.
    return max(len(text.split()), len(text) // _CHARACTERS_OF_A_WORD)


def _parts(block: Block) -> Iterator[Block]:
    """The block itself, or, when it is longer than a passage, its lines, sentences or pieces in as few parts."""
    if _words(block.text) <= _MOST:
        yield block
        return
    part: Block | None = None
    size = 0
    for unit in _units(block):
        words = _words(unit.text)
        if part and size + words <= _MOST:
            joint = "\n" if unit.first_line > part.last_line else " "
            part = replace(part, text=part.text + joint + unit.text, last_line=unit.last_line)
            size += words
        else:
            if part:
                yield part
            part, size = unit, words
    if part:
        yield part


def _units(block: Block) -> Iterator[Block]:
    lines = block.text.split("\n")
    # Of a text that was set anew, as HTML is, no part's own lines are known.
    verbatim = len(lines) == block.last_line - block.first_line + 1
    for number, line in enumerate(lines, block.first_line):
        unit = replace(block, text=line, first_line=number, last_line=number) if verbatim else block
        if _words(line) <= _MOST:
            yield replace(unit, text=line)
            continue
        for sentence in _SENTENCE_END.split(line):
            yield from (replace(unit, text=piece) for piece in _slices(sentence))


def _slices(sentence: str) -> Iterator[str]:
    words = sentence.split(" ")
    for start in range(0, len(words), _MOST):
        piece = " ".join(words[start : start + _MOST])
        length = _MOST * _CHARACTERS_OF_A_WORD
        yield from (piece[at : at + length] for at in range(0, len(piece), length))
