"""Material for an answer: passages with a source, computed values and failures, out of what tools returned."""

import json
import re
from dataclasses import dataclass
from typing import Any

from services.demo_model.notes import Passage, Trust, Value, passages_in, values_in, without_closing
from services.demo_model.plain import sentences
from services.demo_model.wire import json_or_none

_TEXT_KEYS = ("text", "content", "snippet", "excerpt", "passage", "body")
_SOURCE_KEYS = ("source", "url", "uri", "file", "path", "citation")
_HEADING_KEYS = ("heading", "title", "section")
_ERROR_KEYS = ("error", "errors")
_REASON_KEYS = ("detail", "message", "reason", "title", "error", "msg")
_VALUE_KEYS = ("value", "result")
_EXPRESSION_KEYS = ("expression", "expr", "formula", "calculation", "equation")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:[eE][+-]?\d+)?(?:/\d+)?(?:\s*\([^()]{1,60}\))?")
_ERROR_TEXT = re.compile(r"\s*(?:error|failed|failure|exception|traceback)\b[\s:]*", re.IGNORECASE)
_FIRST_BAD_STATUS = 400
_MAX_DEPTH = 12
_MAX_FACTS = 6
_MAX_EMBEDDED = 50
_SHORT = 2


@dataclass(frozen=True)
class Failure:
    """A tool that failed, and its own words for why."""

    tool: str
    reason: str


@dataclass(frozen=True)
class Material:
    """All there is to answer from, in the order in which it came, each piece once."""

    passages: tuple[Passage, ...] = ()
    values: tuple[Value, ...] = ()
    failures: tuple[Failure, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.passages or self.values or self.failures)

    def __add__(self, other: "Material") -> "Material":
        return Material(
            tuple(dict.fromkeys(self.passages + other.passages)),
            tuple(dict.fromkeys(self.values + other.values)),
            tuple(dict.fromkeys(self.failures + other.failures)),
        )


def from_result(tool: str, arguments: str, content: str) -> Material:
    """Material in the result of one tool call; `arguments` and `content` are as they stand in the messages."""
    text = without_closing(content)
    value = json_or_none(text)
    given = json_or_none(arguments)
    reader = _Reader(tool, given if isinstance(given, dict) else {})
    if value is not None or text.strip() == "null":
        return reader.read(value, 0)
    if text.lstrip()[:1] not in {"{", "["}:
        return reader.prose(text)
    # JSON that was cut to fit: the objects that are whole still count.
    return sum((reader.read(whole, 0) for _, _, whole in _embedded_json(text)), Material())


def from_notes(text: str) -> Material:
    """Material in the notes of a prompt: prose with [source] labels, computed values, and JSON among them."""
    text = without_closing(text)
    material, at = Material(), 0
    for start, end, value in _embedded_json(text):
        material += _from_prose(text[at:start]) + _Reader("", {}).read(value, 0)
        at = end
    return material + _from_prose(text[at:])


def _from_prose(text: str) -> Material:
    values, rest = values_in(text)
    return Material(tuple(passages_in(rest)), tuple(values))


def _embedded_json(text: str) -> list[tuple[int, int, Any]]:
    found: list[tuple[int, int, Any]] = []
    decoder = json.JSONDecoder()
    end = 0
    for match, _ in zip(re.finditer(r"(?=\{\s*\"|\[\s*\{)", text), range(_MAX_EMBEDDED), strict=False):
        if match.start() < end:
            continue
        try:
            value, end = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        found.append((match.start(), end, value))
    return found


class _Reader:
    """Reads the JSON value that one tool returned; `arguments` are those it was called with."""

    def __init__(self, tool: str, arguments: dict[str, Any]) -> None:
        self.tool = tool
        self.arguments = arguments

    def read(self, value: Any, depth: int) -> Material:
        if depth > _MAX_DEPTH or value is None:
            return Material()
        if isinstance(value, dict):
            return self.mapping(value, depth)
        if isinstance(value, list):
            material = Material()
            for item in value:
                material += self.read(item, depth + 1)
            return material
        if isinstance(value, str):
            inner = json_or_none(value) if value.lstrip()[:1] in {"{", "["} else None
            return self.prose(value) if inner is None else self.read(inner, depth + 1)
        return Material(values=(Value(self.expression({}), json.dumps(value)),))

    def mapping(self, value: dict[str, Any], depth: int) -> Material:
        failure = _failure(value)
        if failure:
            return Material(failures=(Failure(self.tool or "tool", failure),))
        text, source = _first_text(value, _TEXT_KEYS), _first_text(value, _SOURCE_KEYS)
        if source and any(key in value for key in _TEXT_KEYS):
            return Material(passages=(Passage(text, source, _first_text(value, _HEADING_KEYS)),) if text else ())
        computed = next((value[key] for key in _VALUE_KEYS if _is_number(value.get(key))), None)
        if computed is not None:
            shown = computed if isinstance(computed, str) else json.dumps(computed)
            return Material(values=(Value(self.expression(value), shown.strip()),))
        nested = [item for item in value.values() if isinstance(item, dict | list)]
        texts = [item for item in value.values() if isinstance(item, str) and len(item.split()) > _MAX_FACTS]
        if not nested and not texts:
            return self.fact(value)
        material = Material()
        for item in [*nested, *texts]:
            material += self.read(item, depth + 1)
        return material

    def prose(self, text: str) -> Material:
        """Text of a tool that names no source: the tool itself is the source."""
        if _ERROR_TEXT.match(text):
            return Material(failures=(Failure(self.tool or "tool", _one_line(text)),))
        if _NUMBER.fullmatch(text.strip()) and self.tool:
            return Material(values=(Value(self.expression({}), text.strip()),))
        found = _from_prose(text)
        trust: Trust = "certain" if len(sentences(text)) <= _SHORT else "offered"
        named = (
            passage if passage.source else Passage(passage.text, self.tool, trust=trust)
            for passage in found.passages
        )
        return Material(tuple(named), found.values)

    def fact(self, value: dict[str, Any]) -> Material:
        told = [f"{key} {item}" for key, item in value.items() if item is not None and item != ""][:_MAX_FACTS]
        if not told:
            return Material()
        text = f"{self.tool or 'The note'} returned {', '.join(told)}."
        return Material(passages=(Passage(_one_line(text), self.tool, trust="certain"),))

    def expression(self, value: dict[str, Any]) -> str:
        for given in (value, self.arguments):
            text = _first_text(given, _EXPRESSION_KEYS)
            if text:
                return _one_line(text)
        return f"{self.tool}({', '.join(str(item) for item in self.arguments.values())})"


def _failure(value: dict[str, Any]) -> str:
    error = next((value[key] for key in _ERROR_KEYS if value.get(key)), None)
    status = value.get("status")
    if error is None and isinstance(status, int) and status >= _FIRST_BAD_STATUS:
        error = value
    if isinstance(error, list):
        error = error[0]
    if isinstance(error, dict):
        error = _first_text(error, _REASON_KEYS) or json.dumps(error)
    if error is True:
        error = _first_text(value, _REASON_KEYS) or "it gave no reason"
    return _one_line(str(error)) if error is not None else ""


def _first_text(value: dict[str, Any], keys: tuple[str, ...]) -> str:
    return next((value[key] for key in keys if isinstance(value.get(key), str) and value[key].strip()), "")


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return bool(_NUMBER.fullmatch(value.strip()))
    return isinstance(value, int | float)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]
