"""Scripts: what the model answers to which request, for tests of whoever calls it."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.demo_model.demonstration import Turn, reply
from services.demo_model.prompt import read_prompt
from services.demo_model.wire import Call, ChatRequest, Reply, problem


class ScriptError(Exception):
    """A script that cannot be used; the message names the file, the place in it and what is wrong."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _compilable(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    return pattern


class Pattern(_Part):
    """A regular expression, searched anywhere, case ignored; its named groups can be used in the answer."""

    regex: Annotated[str, AfterValidator(_compilable)]


class When(_Part):
    """What a request must look like for a rule to apply: all that is given must hold.

    `question` is tried on the whole last user message. A plain string is looked for anywhere, case ignored.
    `tool_results` counts those since the last user message.
    `tools` are names that must be offered; an empty list means that none may be.
    """

    question: str | Pattern | None = None
    system: str | Pattern | None = None
    conversation: str | Pattern | None = None
    tool_results: int | None = Field(default=None, ge=0)
    tools: list[str] | None = None


class ScriptedCall(_Part):
    """A tool call to answer with; arguments that are a string go out as they are, well formed or not."""

    name: str
    arguments: dict[str, Any] | str = {}


class ScriptedError(_Part):
    """An HTTP error to answer with: `body` as it is, or the usual one with `message`; `retry_after` in seconds."""

    status: int = Field(ge=400, le=599)
    message: str = "The script asked for this error."
    body: dict[str, Any] | str | None = None
    retry_after: float | None = Field(default=None, ge=0)


class Rule(_Part):
    """One rule: when it applies, how often (`times`, else without limit), what it answers, `delay` seconds later.

    Of `text`, `tool_calls`, `error` and `drop` (the connection is cut) at most one; with none of them, the
    demonstration model answers. Texts and arguments may hold {question}, {system}, {tool_result} (the last one),
    {tool_results} (all), {call} (the number of this call) and named groups of the patterns.
    """

    name: str = ""
    when: When = When()
    times: int | None = Field(default=None, ge=1)
    delay: float = Field(default=0, ge=0)
    text: str | None = None
    tool_calls: list[ScriptedCall] | None = Field(default=None, min_length=1)
    error: ScriptedError | None = None
    drop: bool = False

    @model_validator(mode="after")
    def _one_answer(self) -> Self:
        given = [self.text is not None, self.tool_calls is not None, self.error is not None, self.drop]
        if sum(given) > 1:
            raise ValueError("give at most one of text, tool_calls, error and drop in a rule")
        return self


class Script(_Part):
    """Rules, tried in order; what none of them matches the demonstration model answers, or, if `strict`, an error.

    With `api_key`, a request that does not bring it as bearer token gets a 401.
    """

    rules: list[Rule] = []
    strict: bool = False
    api_key: str | None = None

    @classmethod
    def load(cls, path: Path) -> "Script":
        """Script in a JSON file; raises ScriptError where there is none that can be used."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ScriptError(
                f"The script {str(path)!r} cannot be read: {error.strerror}. Give a file that can."
            ) from error
        except ValidationError as error:
            place, message = problem(error)
            where = f"at {place!r}" if place else "at all"
            raise ScriptError(f"The script {str(path)!r} is not valid {where}: {message}.") from error


class Facts:
    """What the rules can be tried on and what the answers can name, taken from one request."""

    def __init__(self, request: ChatRequest, number: int) -> None:
        turn = Turn.of(request.messages)
        results = [content for _, _, content in turn.results]
        self.tool_results = len(results)
        self.tools = [tool.function.name for tool in request.tools or []]
        self.conversation = "\n".join(message.text for message in request.messages)
        self.message = turn.question
        self.words = {
            "question": read_prompt(turn.question).question,
            "system": turn.instructions,
            "tool_result": results[-1] if results else "",
            "tool_results": "\n".join(results),
            "call": str(number),
        }

    @property
    def summary(self) -> str:
        """What tells this request from others, in one line."""
        return (
            f"last user message {self.message!r}, system prompt {self.words['system'].partition(chr(10))[0]!r}, "
            f"{self.tool_results} tool results, tools offered: {', '.join(self.tools) or 'none'}"
        )

    def fit(self, when: When) -> dict[str, str] | None:
        """Words for the answer's template where the request fits, else None."""
        if when.tool_results is not None and when.tool_results != self.tool_results:
            return None
        if when.tools is not None and not (
            set(when.tools) <= set(self.tools) and bool(when.tools) == bool(self.tools)
        ):
            return None
        words = dict(self.words)
        for wanted, text in (
            (when.question, self.message),
            (when.system, self.words["system"]),
            (when.conversation, self.conversation),
        ):
            found = _groups(wanted, text)
            if found is None:
                return None
            words |= found
        return words


def scripted_reply(rule: Rule, words: dict[str, str], request: ChatRequest) -> Reply:
    """Reply of a rule that is neither an error nor a cut connection, its templates filled in."""
    if rule.text is not None:
        return Reply(text=_filled(rule.text, words))
    if rule.tool_calls is not None:
        calls = [(call.name, _filled(call.arguments, words)) for call in rule.tool_calls]
        return Reply(
            calls=[Call(name, args if isinstance(args, str) else json.dumps(args)) for name, args in calls]
        )
    return reply(request)


def _groups(wanted: str | Pattern | None, text: str) -> dict[str, str] | None:
    if isinstance(wanted, Pattern):
        match = re.search(wanted.regex, text, re.IGNORECASE | re.DOTALL)
        return {name: value or "" for name, value in match.groupdict().items()} if match else None
    return {} if wanted is None or wanted.lower() in text.lower() else None


def _filled(template: Any, words: dict[str, str]) -> Any:
    if isinstance(template, str):
        return re.sub(r"\{(\w+)\}", lambda found: words.get(found[1], found[0]), template)
    if isinstance(template, dict):
        return {key: _filled(value, words) for key, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, words) for value in template]
    return template
