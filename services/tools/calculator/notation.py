"""From the notation people write, `1,234 * 12%`, to the one Python's parser reads, with positions kept."""

import bisect
import difflib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Self

from services.tools.calculator.errors import CalculationError

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<number>[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]*)?
        |(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    |(?P<name>[A-Za-z_][A-Za-z_0-9]*|\u03c0)
    |(?P<operator>\*\*|//|[-+*/%^(),\u00d7\u22c5\u00b7\u00f7\u2212\u2013\u00b2\u00b3])
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_MINUS = frozenset({"-", "\u2212", "\u2013"})
_DIVISION = frozenset({"/", "\u00f7", "//", "%", "**", "^"})
_POWERS = {"\u00b2": "** 2", "\u00b3": "** 3"}
_SPELLINGS = {
    "^": "**",
    "\u00d7": "*",
    "\u22c5": "*",
    "\u00b7": "*",
    "\u00f7": "/",
    "\u2212": "-",
    "\u2013": "-",
    "\u03c0": "pi",
} | _POWERS
_HINTS = {
    "!": "write factorial(5) for 5!",
    "=": "write the expression only, without =",
    "\u221a": "write sqrt(2) for the root of 2",
    "$": "write numbers without a currency",
    "\u20ac": "write numbers without a currency",
    "\u00a3": "write numbers without a currency",
    "[": "use round brackets",
    "{": "use round brackets",
}
_OPERAND = frozenset({"number", "name"})


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    @property
    def closes_operand(self) -> bool:
        return self.kind in _OPERAND or self.text == ")" or self.text in _POWERS


@dataclass(frozen=True, slots=True)
class Source:
    """An expression in Python's notation, and where each of its columns stood in what was written."""

    python: str
    columns: tuple[int, ...]
    origins: tuple[int, ...]

    @classmethod
    def of(cls, pieces: Iterator[tuple[str, int]]) -> Self:
        """Source of (Python text, 0-based origin) pairs, in order."""
        texts, columns, origins, column = [], [], [], 0
        for text, origin in pieces:
            texts.append(text)
            columns.append(column)
            origins.append(origin)
            column += len(text) + 1
        return cls(" ".join(texts), tuple(columns), tuple(origins))

    def position(self, column: int) -> int:
        """1-based character of the written expression for a 0-based column of the Python text."""
        return self.origins[max(0, bisect.bisect_right(self.columns, column) - 1)] + 1


def translate(expression: str, names: Collection[str]) -> Source:
    """Python notation of an expression in which only `names` may occur as names.

    Understood besides Python's own: `^`, the signs of print for times, divided by, minus, squared, cubed, pi,
    commas that group thousands, and a percent sign after a number (`12% of 80`, `200 * 12%`); `17 % 5` is
    still the remainder. What can be read in two ways raises CalculationError rather than being guessed.
    """
    tokens = list(_tokens(expression, names))
    if not tokens:
        raise CalculationError("The expression is empty: write one such as (3 + 4) * 2")
    return Source.of(_pieces(tokens))


def _tokens(expression: str, names: Collection[str]) -> Iterator[_Token]:
    inside_call: list[bool] = []
    previous: _Token | None = None
    for match in _TOKEN.finditer(expression):
        if match.lastgroup == "space":
            continue
        token = _Token(match.lastgroup or "other", match.group(), match.start())
        _check(token, previous, names, in_call=bool(inside_call and inside_call[-1]))
        if token.text == "(":
            inside_call.append(previous is not None and previous.kind == "name" and previous.text != "of")
        elif token.text == ")" and inside_call:
            inside_call.pop()
        yield token
        previous = token


def _check(token: _Token, previous: _Token | None, names: Collection[str], *, in_call: bool) -> None:
    position = token.start + 1
    if token.kind == "other":
        hint = _HINTS.get(token.text, "use numbers, + - * / // % ^, brackets and the functions of this tool")
        raise CalculationError(f"{token.text!r} is not understood: {hint}", position)
    if token.kind == "name":
        if previous and previous.kind == "number" and previous.end == token.start:
            message = f"Write an operator between {previous.text} and {token.text}, for example a *"
            raise CalculationError(message, position)
        if token.text not in names and token.text not in {"of", "\u03c0"}:
            raise CalculationError(_unknown(token.text, names), position)
    if in_call and "," in token.text and token.kind == "number":
        plain, apart = token.text.replace(",", ""), token.text.replace(",", ", ")
        message = f"{token.text} in a function's brackets can be read in two ways: write {plain} or {apart}"
        raise CalculationError(message, position)
    if token.text == "," and not in_call:
        message = "A comma groups thousands (1,234) or separates arguments: a decimal has a point (3.14)"
        raise CalculationError(message, position)


def _unknown(name: str, names: Collection[str]) -> str:
    near = difflib.get_close_matches(name.lower(), sorted(names), n=1)
    mend = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(names))}"
    return f"{name[:40]!r} is not known here: {mend}"


def _pieces(tokens: list[_Token]) -> Iterator[tuple[str, int]]:
    skip = -1
    for index, token in enumerate(tokens):
        following = tokens[index + 1] if index + 1 < len(tokens) else None
        if index <= skip:
            continue
        if token.kind == "number" and following and following.text == "%":
            reading = _percent(tokens, index)
            if reading:
                yield f"({_literal(token.text)} / 100){' *' if reading == 'of' else ''}", token.start
                skip = index + (2 if reading == "of" else 1)
                continue
        if token.text == "of":
            raise CalculationError("'of' is only understood after a percentage: 12% of 80", token.start + 1)
        text = _literal(token.text) if token.kind == "number" else _SPELLINGS.get(token.text, token.text)
        yield text, token.start


def _percent(tokens: list[_Token], index: int) -> str:
    """How the % after number `index` reads: "of", "alone", or "" for a remainder."""
    sign, after = tokens[index + 1], tokens[index + 2] if index + 2 < len(tokens) else None
    before = tokens[index - 1].text if index else ""
    binary = index > 1 and tokens[index - 2].closes_operand
    if after and after.text == "of":
        if before in _DIVISION:
            raise CalculationError("Put the percentage in brackets: 100 / (12% of 80)", sign.start + 1)
        return "of"
    if after and (after.kind in _OPERAND or after.text == "("):
        return ""
    sums = _MINUS | {"+"}
    if (before in sums and binary) or (after and after.text in sums):
        message = "This % can be read in two ways: write 10/100, 10% of 100 or 17 % (-5)"
        raise CalculationError(message, sign.start + 1)
    return "alone"


def _literal(text: str) -> str:
    # Python refuses leading zeros in whole numbers.
    plain = text.replace(",", "").lstrip("0")
    return plain if plain[:1].isdigit() else f"0{plain}"
