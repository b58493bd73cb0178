"""Notes: prose in which sentences carry a [source] label, and computed values stand as `expression = value`."""

import re
from dataclasses import dataclass
from typing import Literal

CLOSING = (
    "(Answered by the demonstration model: it quotes the material it was given and adds nothing. "
    "For a real model, change the llm component.)"
)
_CLOSING_START = "(Answered by the demonstration model:"
_CLOSING = re.compile(rf"{re.escape(_CLOSING_START)}[^()]*\)")

_FILE = r"[^\[\]\n]{0,160}(?:\.\w{1,8}|[\w.-]/[\w./#?=&%-]+)(?:[:#,][^\[\]\n]{1,40})?"
_LABEL = re.compile(
    rf"(?:(?<=[.!?…:\"”'\u2019)`\]])\s*\[(?P<word>[\w./:#-]{{1,120}})\]|\s\[(?P<file>{_FILE})\])(?!\()[.;]?"
)
_LEADING = re.compile(
    rf"^[ \t]*+(?:(?:[-*+]|\d{{1,3}}[.)])[ \t]*+)?\[(?P<file>{_FILE}|\d+)\](?!\()[:\s]", re.MULTILINE
)
_VALUE = r"-?\d+(?:[.,]\d+)*(?:[eE][+-]?\d+)?(?:/\d+)?(?: \([^()\n]{1,60}\))?"
_RESULT = re.compile(rf"\s=\s(?P<value>{_VALUE})\.?(?=\s|$)")
_STATEMENT_START = re.compile(r"\n[ \t]*(?:[-*+][ \t]+)?|[.!?;:\]][ \t]+")
# Possessive, so that no text takes more than one pass.
_EXPRESSION = re.compile(
    r"(?:[a-z_]\w*\([^()\n=]*\)|[a-z_]\w*(?=\()|pi\b|[\d.,()+*/%^\s\u00d7\u00f7\u00b7\u03c0-])++", re.IGNORECASE
)
_OPERATION = re.compile(r"[+*/%^(\u00d7\u00f7\u00b7]|\d\s*-")
_MAX_EXPRESSION = 200


Trust = Literal["offered", "chosen", "certain"]


@dataclass(frozen=True)
class Passage:
    """A text that may be quoted, and the source to cite with it (empty: it names none).

    `trust` says how much of the question it must share: a fair part where it was merely offered (by a search), any
    word where somebody chose it (for notes), none where it is certain (all that a tool said).
    """

    text: str
    source: str = ""
    heading: str = ""
    trust: Trust = "offered"


@dataclass(frozen=True)
class Value:
    """A computed value and the expression it is the value of."""

    expression: str
    value: str

    def __str__(self) -> str:
        return f"{self.expression} = {self.value}"


def without_closing(text: str) -> str:
    """Text without the closing line of an earlier answer of this model."""
    return _CLOSING.sub("", text).rstrip() if _CLOSING_START in text else text


def values_in(text: str) -> tuple[list[Value], str]:
    """Computed values that stand in the text as statements of their own, and the text without them."""
    values, rest, at = [], [], 0
    for result in _RESULT.finditer(text):
        first = max(at, result.start() - _MAX_EXPRESSION)
        before = text[first : result.start()]
        start = max((found.end() for found in _STATEMENT_START.finditer(before)), default=0)
        expression = before[start:].strip()
        if _EXPRESSION.fullmatch(expression) and _OPERATION.search(expression):
            values.append(Value(expression, result["value"]))
            rest.append(text[at : first + start])
            at = result.end()
    return values, "".join([*rest, text[at:]])


def passages_in(text: str) -> list[Passage]:
    """Passages of the text: what precedes a label, or follows one that leads its line, carries its source."""
    passages: list[Passage] = []
    for paragraph in re.split(r"\n[ \t]*\n", text):
        if _LEADING.search(paragraph):
            passages += _led(paragraph)
        else:
            passages += _followed(paragraph)
    return [passage for passage in passages if re.search(r"[^\W_]", passage.text)]


def _led(paragraph: str) -> list[Passage]:
    labels = list(_LEADING.finditer(paragraph))
    ends = [label.start() for label in labels[1:]] + [len(paragraph)]
    led = [_chosen(paragraph[label.end() : end], label["file"]) for label, end in zip(labels, ends, strict=True)]
    return [_chosen(paragraph[: labels[0].start()]), *led]


def _followed(paragraph: str) -> list[Passage]:
    passages, at = [], 0
    for label in _LABEL.finditer(paragraph):
        passages.append(_chosen(paragraph[at : label.start()], label["word"] or label["file"]))
        at = label.end()
    return [*passages, _chosen(paragraph[at:])]


def _chosen(text: str, source: str = "") -> Passage:
    return Passage(text.strip(), source, trust="chosen")
