"""SQL filters of Azure Service Bus as CEL conditions (agent-operating-system-messaging.md, section 3.5).

What the Agent Operating System's ServiceBusManager does is done so here, on every broker:

- `create_topic`: nothing, since a topic is there when it is used; a message has its own `ttl`.
- `create_subscription(topic, name, filter_rule)`: `app.subscribe(topic, match=to_cel(filter_rule))`; the name is
  that of the app, whose replicas share it.
- `send_to_topic`: `app.bus.publish(topic, content)`.
- `receive_from_subscription`: with a `Mailbox` whose `put` is the subscription's handler, its `receive`.
- `complete_message`: its `acknowledge`.

The grammar is that of Microsoft's page "Subscription Rule SQL Filter Syntax", without arithmetic, functions and the
scope `sys`. A property is a field of the message's content. A comparison with one that is missing, null, or of
another type than the literal is unknown; then a filter does not hold, and neither does its contrary.
"""

import importlib
import json
import math
import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

from dovecote.errors import ConfigurationError

__all__ = ["to_cel"]

_GRAMMAR: Final = r"""
?either: both | both (_OR both)+ -> either
?both: contrary | contrary (_AND contrary)+ -> both
?contrary: predicate | _NOT contrary -> contrary
?predicate: "(" either ")"
    | property COMPARISON literal -> compare
    | literal COMPARISON property -> compare_flipped
    | property _IN "(" literal ("," literal)* ")" -> among
    | property _NOT _IN "(" literal ("," literal)* ")" -> not_among
    | property _LIKE text [_ESCAPE text] -> like
    | property _NOT _LIKE text [_ESCAPE text] -> not_like
    | property _IS _NULL -> null
    | property _IS _NOT _NULL -> not_null
    | _EXISTS "(" property ")" -> exists
?property: name | name "." name -> scoped
name: WORD | QUOTED
?literal: text | NUMBER -> number | _TRUE -> true | _FALSE -> false
text: TEXT

_AND.2: /AND\b/i
_OR.2: /OR\b/i
_NOT.2: /NOT\b/i
_IN.2: /IN\b/i
_LIKE.2: /LIKE\b/i
_ESCAPE.2: /ESCAPE\b/i
_IS.2: /IS\b/i
_NULL.2: /NULL\b/i
_EXISTS.2: /EXISTS\b/i
_TRUE.2: /TRUE\b/i
_FALSE.2: /FALSE\b/i
COMPARISON: /<=|>=|<>|!=|=|<|>/
NUMBER: /[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?/i
TEXT: /'([^']|'')*'/
QUOTED: /\[([^\]]|\]\])+\]|"([^"]|"")+"/
WORD: /[^\W\d]\w*/
%ignore /\s+/
"""
_EQUALITY: Final = {"=": "==", "<>": "!=", "!=": "!="}
_CONTRARY: Final = {"==": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_FLIPPED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_WILDCARDS: Final = {"%": ".*", "_": "."}
_SPECIAL: Final = re.compile(r"[\\.+*?()|\[\]{}^$]")  # of the regular expressions that Go and Rust read
_MEND: Final = (
    "there may be comparisons of a property with a literal, IN, LIKE, IS NULL, EXISTS, NOT, AND, OR and "
    "parentheses; say in CEL what is more"
)

Literal = str | float | bool


def to_cel(text: str) -> str:
    """The condition on `event` (dovecote.matching) that a SQL filter is; it can be asked of any event.

    Raises ConfigurationError for what is no filter, with the place, or has no counterpart, with the reason.
    """
    unexpected, read = _reader()
    try:
        condition: _Condition = read(text)
    except unexpected as error:
        ended = getattr(getattr(error, "token", None), "type", "") == "$END"
        place = "its end" if ended else f"character {error.pos_in_stream + 1}"
        raise ConfigurationError(f"the SQL filter {text!r} cannot be read at {place}", mend=_MEND) from error
    return condition.holds


@cache
def _reader() -> tuple[type[Any], Callable[[str], Any]]:
    """What is raised by a text that is no filter, and what reads one: few apps have any."""
    try:
        lark = importlib.import_module("lark")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "a SQL filter needs lark", mend="install dovecote with its extra: dovecote[routing]"
        ) from error
    return lark.UnexpectedInput, lark.Lark(_GRAMMAR, parser="lalr", start="either", transformer=_Rules()).parse


class _Condition(NamedTuple):
    """CEL for when a filter holds, and for when its contrary does: neither, if it is unknown."""

    holds: str
    fails: str

    @property
    def contrary(self) -> "_Condition":
        return _Condition(self.fails, self.holds)


class _Rules:
    """What each rule of the grammar makes of its parts."""

    def both(self, parts: list[_Condition]) -> _Condition:
        holds, fails = zip(*parts, strict=True)
        return _Condition(f"({' && '.join(holds)})", f"({' || '.join(fails)})")

    def either(self, parts: list[_Condition]) -> _Condition:
        return self.both([part.contrary for part in parts]).contrary

    def contrary(self, parts: list[_Condition]) -> _Condition:
        return parts[0].contrary

    def compare(self, parts: list[Any]) -> _Condition:
        name, operator, literal = parts
        if isinstance(literal, bool) and operator not in _EQUALITY:
            raise ConfigurationError(f"the SQL filter asks for {name} {operator} {literal}", mend="write = or <>")
        sign, (kind, said) = _EQUALITY.get(operator, str(operator)), _constant(literal)
        return _typed(name, kind, f"{_value(name)} {sign} {said}", f"{_value(name)} {_CONTRARY[sign]} {said}")

    def compare_flipped(self, parts: list[Any]) -> _Condition:
        literal, operator, name = parts
        return self.compare([name, _FLIPPED.get(operator, operator), literal])

    def among(self, parts: list[Any]) -> _Condition:
        name, *literals = parts
        return self.either([self.compare([name, "=", literal]) for literal in literals])

    def not_among(self, parts: list[Any]) -> _Condition:
        return self.among(parts).contrary

    def like(self, parts: list[Any]) -> _Condition:
        name, pattern, escape = parts
        if escape is not None and len(escape) != 1:
            raise ConfigurationError(f"the SQL filter has ESCAPE {escape!r}", mend="give it one character")
        fits = f"{_value(name)}.matches({_quoted(_regular(pattern, escape))})"
        return _typed(name, "string", fits, f"!{fits}")

    def not_like(self, parts: list[Any]) -> _Condition:
        return self.like(parts).contrary

    def exists(self, parts: list[str]) -> _Condition:
        found = f"({_there(parts[0])})"
        return _Condition(found, f"!{found}")

    def not_null(self, parts: list[str]) -> _Condition:
        found = f"({_there(parts[0])} && {_value(parts[0])} != null)"
        return _Condition(found, f"!{found}")

    def null(self, parts: list[str]) -> _Condition:
        return self.not_null(parts).contrary

    def scoped(self, parts: list[str]) -> str:
        scope, name = parts
        if scope.lower() != "user":
            raise ConfigurationError(
                f"the SQL filter asks for {scope}.{name}, which only Service Bus has",
                mend="ask in CEL for the event's own attribute, such as event.type, event.subject or event.id",
            )
        return name

    def name(self, parts: list[str]) -> str:
        (text,) = parts
        return _unquoted(text) if text[0] in '["' else str(text)

    def text(self, parts: list[str]) -> str:
        return _unquoted(parts[0])

    def number(self, parts: list[str]) -> float:
        number = float(parts[0])
        if math.isinf(number):
            raise ConfigurationError(f"the SQL filter has {parts[0]}", mend="write a number that is not so large")
        return number

    def true(self, _: list[Any]) -> bool:
        return True

    def false(self, _: list[Any]) -> bool:
        return False


def _there(name: str) -> str:
    return f"has(event.data) && type(event.data) == map && {_quoted(name)} in event.data"


def _typed(name: str, kind: str, holds: str, fails: str) -> _Condition:
    known = f"{_there(name)} && type({_value(name)}) == {kind}"
    return _Condition(f"({known} && {holds})", f"({known} && {fails})")


def _value(name: str) -> str:
    return f"event.data[{_quoted(name)}]"


def _constant(literal: Literal) -> tuple[str, str]:
    if isinstance(literal, bool):
        return "bool", str(literal).lower()
    return ("string", _quoted(literal)) if isinstance(literal, str) else ("double", repr(literal))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _unquoted(text: str) -> str:
    return text[1:-1].replace(text[-1] * 2, text[-1])


def _regular(pattern: str, escape: str | None) -> str:
    """LIKE's pattern as a regular expression."""
    said, characters = [], iter(pattern)
    for one in characters:
        plain = next(characters, one) if one == escape else one
        wild = _WILDCARDS.get(one) if one != escape else None
        said.append(wild or _SPECIAL.sub(r"\\\g<0>", plain))
    return f"(?s)^{''.join(said)}$"
