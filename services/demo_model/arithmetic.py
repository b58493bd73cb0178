"""Arithmetic in a question, in symbols or in words, as expressions that a calculator reads."""

import re
from dataclasses import dataclass
from functools import lru_cache

_SMALL = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen \
sixteen seventeen eighteen nineteen"
_DIGITS = _SMALL.split()
_TENS = {
    word + "ty": 20 + 10 * at
    for at, word in enumerate(("twen", "thir", "for", "fif", "six", "seven", "eigh", "nine"))
}
_NUMBER_WORDS = {word: at for at, word in enumerate(_DIGITS)} | _TENS
_WORD_NUMBER = "|".join([rf"(?:{'|'.join(_TENS)})-(?:{'|'.join(_DIGITS[1:10])})", *_NUMBER_WORDS])

_TOKEN = re.compile(
    rf"""
      (?P<skip>\d+(?:[-/.:]\d+){{2,}} | \d{{1,2}}:\d\d | [$€£]?\d[\d.,]{{0,40}}[^\W\d_]\w* )
    | (?P<number>(?<![\w.])(?:\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|\d{{1,30}}(?:\.\d{{1,30}})?
      |\.\d{{1,30}})(?![\w]|\.\d))
    | (?P<percent>(?:%|\b(?:percent|per\ cent)\b)\s+of\b)
    | (?P<power>\b(?:raised\ )?to\ the\ power\ of\b|\braised\ to\b|\*\*|\^)
    | (?P<postfix>\bsquared\b|\bcubed\b)
    | (?P<root>(?:\bthe\ )?\b(?:square|cube)\ root\ of\b)
    | (?P<fold>(?:\bthe\ )?\b(?:sum|product)\ of\b)
    | (?P<factor>\bhalf\ of\b|\btwice\b|\bdouble\b)
    | (?P<times>\bmultiplied\ by\b|\btimes\b|[*\u00d7·]|(?<=[\d)\s])[xX](?=[\s\d(]))
    | (?P<over>\bdivided\ by\b|[/÷])
    | (?P<plus>\bplus\b|\+)
    | (?P<minus>\bminus\b|[-\u2212\u2013])
    | (?P<modulo>\bmod(?:ulo)?\b|%)
    | (?P<function>\b(?:sqrt|sin|cos|tan|log|log10|log2|ln|exp|abs|round|floor|ceil|min|max|factorial)(?=\())
    | (?P<constant>\bpi\b|π)
    | (?P<spelled>\b(?:{_WORD_NUMBER})\b)
    | (?P<open>\()
    | (?P<close>\))
    | (?P<and>\band\b)
    | (?P<comma>,)
    | (?P<other>\w+|[^\w\s])
    """,
    re.VERBOSE | re.IGNORECASE,
)
_BINARY = {"power": "**", "times": "*", "over": "/", "plus": "+", "minus": "-", "modulo": "%", "percent": "/ 100 *"}
# "10-14" and "24/7" are arithmetic only where the text asks for a value.
_AMBIGUOUS = re.compile(r"\d[\d.,]*(?:(?:\s*[-\u2013\u2212]\s*|/)\d[\d.,]*)+")
_ASKING = "what is|what's|what are|how much is|calculate|compute|evaluate|solve|work out|give me|tell me"
_CUE = re.compile(rf"(?:\b(?:{_ASKING})\b|=)\s*$", re.IGNORECASE)
_MAX_DEPTH = 20
_MAX_TOKENS = 2000


@dataclass(frozen=True)
class Arithmetic:
    """An expression found in a text: its normal form, and where in the text it stood (character offsets)."""

    expression: str
    start: int
    end: int


@lru_cache(maxsize=128)
def find_arithmetic(text: str) -> tuple[Arithmetic, ...]:
    """All arithmetic in the text, in order; dates, versions, times of day and line ranges are none."""
    parser = _Parser([match for match, _ in zip(_TOKEN.finditer(text), range(_MAX_TOKENS), strict=False)])
    found, at = [], 0
    while at < len(parser.tokens):
        parsed = parser.expression(at, 0)
        if parsed is None or not parsed.operations:
            at = parsed.after if parsed else at + 1
            continue
        start, end = parser.tokens[at].start(), parser.tokens[parsed.after - 1].end()
        asked_for = not re.search(r"\w", text[:start] + text[end:]) or _CUE.search(text[max(0, start - 40) : start])
        if asked_for or not _AMBIGUOUS.fullmatch(text[start:end]):
            found.append(Arithmetic(parsed.text, start, end))
        at = parsed.after
    return tuple(found)


def without_arithmetic(text: str) -> str:
    """Text with its arithmetic cut out: what is left to be looked up."""
    for found in reversed(find_arithmetic(text)):
        text = f"{text[: found.start]} {text[found.end :]}"
    return text


@dataclass(frozen=True)
class _Parsed:
    text: str
    after: int
    operations: int


class _Parser:
    """Recursive descent over the tokens; each rule returns None where it does not match."""

    def __init__(self, found: list[re.Match[str]]) -> None:
        self.tokens = found

    def kind(self, at: int) -> str | None:
        return self.tokens[at].lastgroup if at < len(self.tokens) else None

    def expression(self, at: int, depth: int) -> _Parsed | None:
        parsed = self.term(at, depth)
        while parsed is not None:
            operator = _BINARY.get(self.kind(parsed.after) or "")
            right = self.term(parsed.after + 1, depth) if operator else None
            if right is None:
                break
            text = f"{parsed.text} {operator} {right.text}"
            parsed = _Parsed(text, right.after, parsed.operations + right.operations + 1)
        return parsed

    def term(self, at: int, depth: int) -> _Parsed | None:
        if depth > _MAX_DEPTH:
            return None
        kind = self.kind(at)
        if kind in {"minus", "plus"}:
            inner = self.term(at + 1, depth + 1)
            return inner and _Parsed(f"{_BINARY[kind]}{inner.text}", inner.after, inner.operations)
        parsed = self.atom(at, depth)
        while parsed is not None and self.kind(parsed.after) == "postfix":
            exponent = 2 if self.tokens[parsed.after][0].lower() == "squared" else 3
            parsed = _Parsed(f"{parsed.text} ** {exponent}", parsed.after + 1, parsed.operations + 1)
        return parsed

    def atom(self, at: int, depth: int) -> _Parsed | None:
        kind = self.kind(at)
        if kind in {"number", "constant", "spelled"}:
            return _Parsed(_normal(self.tokens[at]), at + 1, 0)
        if kind in {"open", "function"}:
            named = kind == "function"
            return self.enclosed(at + named, depth, self.tokens[at][0].lower() if named else "")
        if kind in {"root", "factor"}:
            return self.prefixed(at, depth)
        return self.folded(at, depth) if kind == "fold" else None

    def enclosed(self, at: int, depth: int, function: str) -> _Parsed | None:
        inner = self.expression(at + 1, depth + 1)
        while inner is not None and function and self.kind(inner.after) == "comma":
            following = self.expression(inner.after + 1, depth + 1)
            inner = following and _Parsed(f"{inner.text}, {following.text}", following.after, inner.operations)
        if inner is None or self.kind(inner.after) != "close":
            return None
        return _Parsed(f"{function}({inner.text})", inner.after + 1, inner.operations + bool(function))

    def prefixed(self, at: int, depth: int) -> _Parsed | None:
        inner = self.term(at + 1, depth + 1)
        if inner is None:
            return None
        word = self.tokens[at][0].lower()
        argument = inner.text[1:-1] if inner.text.startswith("(") and inner.text.endswith(")") else inner.text
        if "square root" in word:
            text = f"sqrt({argument})"
        elif "cube root" in word:
            text = f"({argument}) ** (1 / 3)"
        else:
            text = f"{'0.5' if 'half' in word else '2'} * {inner.text}"
        return _Parsed(text, inner.after, inner.operations + 1)

    def folded(self, at: int, depth: int) -> _Parsed | None:
        inner = self.term(at + 1, depth + 1)
        sign = "+" if "sum" in self.tokens[at][0].lower() else "*"
        operations = 0
        while inner is not None and self.kind(inner.after) in {"and", "comma"}:
            step = 2 if (self.kind(inner.after), self.kind(inner.after + 1)) == ("comma", "and") else 1
            following = self.term(inner.after + step, depth + 1)
            if following is None:
                break
            operations += 1
            inner = _Parsed(f"{inner.text} {sign} {following.text}", following.after, 0)
        return _Parsed(f"({inner.text})", inner.after, operations) if inner and operations else None


def _normal(token: re.Match[str]) -> str:
    if token.lastgroup == "spelled":
        return str(sum(_NUMBER_WORDS[part] for part in token[0].lower().split("-")))
    return "pi" if token.lastgroup == "constant" else token[0].replace(",", "")
