"""Notes: prose in which sentences carry a [source] label, and computed values stand as `expression = value`."""

import re
from dataclasses import dataclass
from typing import Literal

CLOSING = (
    "(Answered by the demonstration model: it quotes the material it was given and adds nothing. "
    "For a real model, change the llm component.)"
)
_CLOSING = re.compile(r"\s*\(Answered by the demonstration model:[^()]*\)")

_FILE = r"[^\[\]\n]{0,160}(?:\.\w{1,8}|[\w.-]/[\w./#?=&%-]+)(?:[:#,][^\[\]\n]{1,40})?"
_LABEL = re.compile(
    rf"(?:(?<=[.!?…:\"”'\u2019)`\]])\s*\[(?P<word>[\w./:#-]{{1,120}})\]|\s\[(?P<file>{_FILE})\])(?!\()[.;]?"
)
_LEADING = re.compile(rf"^[ \t]*(?:[-*+]|\d+[.)])?[ \t]*\[(?P<file>{_FILE}|\d+)\](?!\()[:\s]", re.MULTILINE)
_OPERAND = r"[-+(]*(?:[\d.,]*\d|pi\b|π|[a-z_]\w*\([^()\n=]*\))[)!%]*"
_VALUE = r"-?\d+(?:[.,]\d+)*(?:[eE][+-]?\d+)?(?:/\d+)?(?: \([^()\n]{1,60}\))?"
_COMPUTED = re.compile(
    rf"(?P<expression>{_OPERAND}(?:\s*(?:\*\*|[-+*/%^\u00d7÷·])\s*{_OPERAND}){{0,40}})\s=\s(?P<value>{_VALUE})\.?(?=\s|$)",
    re.IGNORECASE,
)
_BEFORE_STATEMENT = re.compile(r"(?:^|[.!?;:\]\n]|\n[ \t]*[-*+])\s*$")


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
    return _CLOSING.sub("", text)


def values_in(text: str) -> tuple[list[Value], str]:
    """Computed values that stand in the text as statements of their own, and the text without them."""
    values, rest, at = [], [], 0
    for match in _COMPUTED.finditer(text):
        if _BEFORE_STATEMENT.search(text[max(0, match.start() - 20) : match.start()]):
            values.append(Value(match["expression"].strip(), match["value"]))
            rest.append(text[at : match.start()])
            at = match.end()
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
