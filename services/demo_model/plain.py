"""Plain sentences out of Markdown: what of a passage can be quoted in running text."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

Kind = Literal["heading", "prose", "item", "code"]

# Indented text is more often an admonition or a wrapped line than code.
_MARKDOWN = MarkdownIt("commonmark").disable("code")
_TABLE_ROW = re.compile(r"^\s*\|(.+)\|\s*$")
_TAG = re.compile(r"<!--(?:(?!-->).)*+(?:-->)?|</?[a-zA-Z!][^<>]*>", re.DOTALL)
_BREAK = re.compile(r"(?<=[.!?])([\"”\u2019)\]]*)\s+(?=[\"“\u2018(\[]*(?:`|[^\W_a-z]))")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|resp|incl|fig|no|mr|mrs|dr|st|[A-Za-z])|^\d{1,2})\.$", re.IGNORECASE
)
_DRAWING = re.compile(r"[\u2500-\u257f]")
_MARKER = re.compile(r"^\s*(?:(?:!!!|\?\?\?\+?|:::)\s*[\w ]*(?:\"[^\"]*\")?|(?:>\s*)?\[![A-Z]+\])\s*$")
_SHORTCODE = re.compile(r"\{\{[<%].*?[%>]\}\}")
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_LONGEST_ABBREVIATION = 10
_MAX_LIST_ITEMS = 8
_MAX_ITEM_WORDS = 8
_MAX_CODE_WORDS = 12


@dataclass(frozen=True)
class Sentence:
    """One quotable sentence, in plain text that ends with punctuation, and what kind of block it stood in."""

    text: str
    kind: Kind


@lru_cache(maxsize=2048)
def sentences(text: str) -> tuple[Sentence, ...]:
    """Sentences of a Markdown or plain text, in order; headings and lines of code are marked as such."""
    found = []
    for block in _joined(_blocks(text)):
        parts = [block.text] if block.kind in {"heading", "code"} else _split(block.text)
        found += [Sentence(_ended(part), block.kind) for part in parts if re.search(r"[^\W_]", part)]
    return tuple(found)


def _blocks(text: str) -> list[Sentence]:
    text = _SHORTCODE.sub("", _FRONT_MATTER.sub("", text))
    lines = [_row(line) for line in text.splitlines() if not _is_markup_alone(line)]
    blocks: list[Sentence] = []
    tokens = _MARKDOWN.parse("\n".join(lines))
    for at, token in enumerate(tokens):
        if token.type == "inline":
            opener = tokens[at - 1].type if at else ""
            kind: Kind = "heading" if opener == "heading_open" else "item" if _in_item(tokens, at) else "prose"
            blocks.append(Sentence(_inline(token), kind))
        elif token.type in {"fence", "code_block"}:
            blocks += [Sentence(line, "code") for line in _code_lines(token.content)]
        elif token.type == "html_block":
            blocks.append(Sentence(" ".join(_TAG.sub(" ", token.content).split()), "prose"))
    return [block for block in blocks if block.text]


def _is_markup_alone(line: str) -> bool:
    rule = "|" in line and "--" in line and not line.strip(" \t:|-")
    return rule or bool(_MARKER.match(line))


def _code_lines(code: str) -> list[str]:
    lines = [re.sub(r"^[$>] ", "", line.strip()) for line in code.replace("`", "'").splitlines()]
    return [f"`{line}`" for line in lines if re.search(r"[^\W_]{2}", line) and not _DRAWING.search(line)]


def _row(line: str) -> str:
    row = _TABLE_ROW.match(line)
    if not row:
        return line
    first, *others = [cell.strip() for cell in re.split(r"(?<!\\)\|", row[1])]
    others = [cell for cell in others if cell]
    return f"\n- {first}{': ' if first and others else ''}{', '.join(others)}\n"


def _in_item(tokens: list[Token], at: int) -> bool:
    return at > 1 and tokens[at - 2].type == "list_item_open"


def _inline(token: Token) -> str:
    parts = []
    for child in token.children or []:
        if child.type == "text":
            parts.append(child.content)
        elif child.type == "code_inline":
            parts.append(f"`{child.content}`")
        elif child.type in {"softbreak", "hardbreak"}:
            parts.append(" ")
    return " ".join("".join(parts).split())


def _joined(blocks: list[Sentence]) -> list[Sentence]:
    """A lead-in that ends with a colon goes together with the short list or the short command it introduces."""
    joined: list[Sentence] = []
    at = 0
    while at < len(blocks):
        block, at = blocks[at], at + 1
        if block.kind in {"prose", "item"} and block.text.endswith(":"):
            led = _led(blocks, at)
            if led:
                block, at = Sentence(f"{block.text} {_enumerated(led)}", block.kind), at + len(led)
        joined.append(block)
    return joined


def _led(blocks: list[Sentence], start: int) -> list[Sentence]:
    end = start
    while end < len(blocks) and blocks[end].kind == blocks[start].kind:
        end += 1
    led = blocks[start:end]
    if not led or led[0].kind not in {"item", "code"}:
        return []
    most, words = (_MAX_LIST_ITEMS, _MAX_ITEM_WORDS) if led[0].kind == "item" else (1, _MAX_CODE_WORDS)
    fits = len(led) <= most and all(len(block.text.split()) <= words for block in led)
    return led if fits else []


def _enumerated(led: list[Sentence]) -> str:
    return ", ".join(block.text.rstrip(".;,") for block in led)


def _split(text: str) -> list[str]:
    parts: list[str] = []
    start = seen = ticks = 0
    for match in _BREAK.finditer(text):
        end = match.end(1)
        ticks, seen = ticks + text.count("`", seen, end), end
        if ticks % 2 or _ABBREVIATION.search(text[max(start, end - _LONGEST_ABBREVIATION) : end]):
            continue
        parts.append(text[start:end])
        start, ticks = match.end(), 0
    return [part.strip() for part in [*parts, text[start:]]]


def _ended(text: str) -> str:
    text = text.rstrip(" ,;")
    return text if re.search(r"[.!?:…][\"”\u2019)`\]]*$", text) else f"{text}."
