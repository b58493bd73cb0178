"""Choosing tools: which of those offered fit the question, with which arguments, by their JSON Schemas alone."""

import json
import re
from typing import Any

from services.demo_model.arithmetic import find_arithmetic, without_arithmetic
from services.demo_model.wire import Call, FunctionDefinition
from services.demo_model.words import content_words, names, stem, stems, tokens

_EXPRESSION_NAME = re.compile(
    r"^(?:\w+_)?(?:expressions?|expr|formula|calculation|equation|arithmetic)$", re.IGNORECASE
)
_EXPRESSION_CUE = re.compile(r"\b(?:arithmetic|mathematical|formula|calculat\w+)\b", re.IGNORECASE)
_QUESTION_NAME = re.compile(r"^(?:\w+_)?(?:question|prompt|task)$", re.IGNORECASE)
_SEARCH_NAME = re.compile(r"^(?:\w+_)?(?:query|queries|q|search|search_\w+|terms?|keywords?)$", re.IGNORECASE)
_TEXT_NAME = re.compile(r"^(?:\w+_)?(?:text|input|topic|phrase|content|message)$", re.IGNORECASE)
_SEARCH_CUE = re.compile(
    r"\b(?:search\w*|look(?:ed|s)? (?:for|up)|find\w*|quer(?:y|ies)|keywords?|questions?)\b", re.IGNORECASE
)
_NUMBER = re.compile(r"(?<![\w.,])-?\d{1,15}(?:\.\d{1,15})?(?![\w]|[.,]\d)")
_MAX_QUERY_WORDS = 24
_MAX_CALLS_PER_TOOL = 4
_MAX_DEPTH = 4
_ALTERNATIVES = ("anyOf", "oneOf", "allOf")

Schema = dict[str, Any]


def choose(question: str, tools: list[FunctionDefinition]) -> list[Call]:
    """Calls of every tool that fits the question, in the order of the tools; none where none fits."""
    return [
        Call(tool.name, json.dumps(arguments))
        for tool in tools
        for arguments in _Filler(question, tool).arguments()[:_MAX_CALLS_PER_TOOL]
    ]


def better_query(question: str, query: str) -> str | None:
    """Narrower query than one that found nothing: the names in the question; None where there is none."""
    narrower = names(without_arithmetic(question))
    words = set(tokens(" ".join(narrower)))
    return " ".join(narrower) if words and words < set(tokens(query)) else None


def query_of(question: str) -> str:
    """Content words of the question, for a text search; empty where it has none."""
    return " ".join(content_words(without_arithmetic(question))[:_MAX_QUERY_WORDS])


class _Filler:
    """Fills the parameters of one tool from the question."""

    def __init__(self, question: str, tool: FunctionDefinition) -> None:
        self.question = question
        self.tool = tool
        self.schema = tool.parameters or {}
        self.expressions: list[str | None] = [found.expression for found in find_arithmetic(question)]
        self.rest = without_arithmetic(question)

    def arguments(self) -> list[dict[str, Any]]:
        """Sets of arguments to call the tool with: one for each expression in the question, else one or none."""
        properties = _mapping(self.schema.get("properties"))
        kinds = {name: self.kind(name, self.of_items(self.resolved(schema))) for name, schema in properties.items()}
        asks_expression = "expression" in kinds.values()
        filled = [self.filled(self.schema, given, 0) for given in self.expressions or [None]]
        fitting = [arguments for arguments in filled if arguments is not None]
        if asks_expression or not fitting:
            return fitting if self.expressions else []
        if {"search", "question"} & {kinds[name] for name in fitting[0]}:
            return fitting[:1]
        return fitting[:1] if self.is_spoken_of(bool(fitting[0])) else []

    def filled(self, schema: Schema, expression: str | None, depth: int) -> dict[str, Any] | None:
        """Arguments for an object, or None where one that is required cannot be had."""
        required = [name for name in _listing(schema.get("required")) if isinstance(name, str)]
        arguments: dict[str, Any] = {}
        for name, declared in _mapping(schema.get("properties")).items():
            value = self.value(name, self.resolved(declared), expression, depth, required=name in required)
            if value is not None:
                arguments[name] = value
        return arguments if all(name in arguments for name in required) else None

    def value(self, name: str, schema: Schema, expression: str | None, depth: int, *, required: bool) -> Any:
        """Value for a parameter, or None where the question has none for it."""
        if _listing(schema.get("enum")):
            return self.named_choice(schema["enum"])
        kind = self.kind(name, schema)
        if kind == "array":
            item = self.value(name, self.resolved(schema.get("items")), expression, depth + 1, required=required)
            return None if item is None else [item]
        if kind in {"expression", "search", "question"}:
            own = {"expression": expression, "search": query_of(self.question), "question": self.question.strip()}
            return own[kind] or None
        return self.required_value(schema, depth) if required and depth <= _MAX_DEPTH else None

    def required_value(self, schema: Schema, depth: int) -> Any:
        """Value for a parameter that cannot be left out, though nothing says how to fill it."""
        if "const" in schema:
            return schema["const"]
        kind = schema.get("type")
        if kind in {"integer", "number"}:
            numbers = [float(found) for found in _NUMBER.findall(self.question)]
            whole = [int(number) for number in numbers if number.is_integer()]
            return next(iter(whole if kind == "integer" else numbers), None)
        if kind == "object":
            return self.filled(schema, None, depth + 1)
        if kind == "string":
            return next(iter(names(self.rest)), None)
        return None

    def kind(self, name: str, schema: Schema) -> str:
        """What the parameter wants, by its name, its type and its description."""
        described = f"{schema.get('description', '')} {schema.get('title', '')}"
        if schema.get("type") == "array":
            return "array"
        if schema.get("type", "string") != "string" or schema.get("enum") or "const" in schema:
            return str(schema.get("type"))
        if _EXPRESSION_NAME.match(name) or _EXPRESSION_CUE.search(described):
            return "expression"
        if _QUESTION_NAME.match(name):
            return "question"
        searches = f"{described} {self.tool.name.replace('_', ' ')} {self.tool.description or ''}"
        if _SEARCH_NAME.match(name) or _SEARCH_CUE.search(described):
            return "search"
        return "search" if _TEXT_NAME.match(name) and _SEARCH_CUE.search(searches) else "string"

    def of_items(self, schema: Schema) -> Schema:
        """Schema of what a list holds, or the schema itself where it is no list's."""
        return self.resolved(schema.get("items")) if schema.get("type") == "array" else schema

    def named_choice(self, choices: list[Any]) -> Any:
        """The first of the choices that the question names."""
        asked = {stem(word) for word in tokens(self.question)}
        for choice in choices:
            words = {stem(word) for word in tokens(str(choice).replace("_", " "))}
            if words and words <= asked:
                return choice
        return None

    def resolved(self, schema: Any) -> Schema:
        """Schema with its reference followed and, of alternatives, the first that is not null."""
        found = _mapping(schema)
        for _ in range(_MAX_DEPTH):
            target = str(found.get("$ref", "")).rpartition("/")[2]
            options = [option for key in _ALTERNATIVES for option in _listing(found.get(key))]
            chosen = [option for option in options if isinstance(option, dict) and option.get("type") != "null"]
            if target:
                definitions = self.schema.get("$defs") or self.schema.get("definitions")
                found = {**_mapping(_mapping(definitions).get(target)), **_without(found, "$ref")}
            elif chosen:
                found = {**chosen[0], **_without(found, *_ALTERNATIVES)}
            else:
                break
        kind = found.get("type")
        first = next((one for one in kind if one != "null"), "null") if isinstance(kind, list) else kind
        return {**found, "type": first} if first else found

    def is_spoken_of(self, has_arguments: bool) -> bool:
        """Whether the question speaks of the tool: of anything in its description, or of its very name."""
        asked = {word for word in stems(self.rest) if not word.isdigit()}
        name = set(stems(self.tool.name.replace("_", " ")))
        described = set(stems(self.tool.description or ""))
        if has_arguments:
            return bool(asked & (name | described))
        return bool(name) and name <= asked and bool((asked - name) & described or asked == name)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _listing(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _without(schema: Schema, *keys: str) -> Schema:
    return {key: value for key, value in schema.items() if key not in keys}
