"""A model that answers from a script."""

import inspect
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dovecote.errors import ModelError
from dovecote.messages import new_id
from dovecote.ports import ChatMessage, Completion, ToolCall, ToolSpec, Usage

Answer = str | Completion | Exception
Script = Callable[[Sequence[ChatMessage], Sequence[ToolSpec]], Answer | Awaitable[Answer]]


@dataclass(frozen=True)
class ModelCall:
    """What the model was given in one call."""

    messages: tuple[ChatMessage, ...]
    tools: tuple[ToolSpec, ...]


class ScriptedModel:
    """A model for tests: gives its answers one after the other, or asks a function for each.

    An answer is a text, a Completion (see `tool_call`), or an error, which is raised. A function gets messages
    and tools, and may be async. `calls` has every call so far; a call after the last answer is a ModelError.
    """

    def __init__(self, *answers: Answer | Script) -> None:
        self._script: Script | None = None
        if len(answers) == 1 and callable(answers[0]):
            self._script = answers[0]
        self._answers = list(answers)
        self.calls: list[ModelCall] = []

    async def complete(self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec]) -> Completion:
        """The next answer of the script."""
        self.calls.append(ModelCall(tuple(messages), tuple(tools)))
        answer: Any = self._script or self._next()
        if callable(answer):
            answer = answer(messages, tools)
            if inspect.isawaitable(answer):
                answer = await answer
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, str):
            return Completion(text=answer, usage=Usage(model_calls=1))
        completion: Completion = answer
        return completion

    def _next(self) -> Answer | Script:
        number = len(self.calls)
        if number > len(self._answers):
            raise ModelError(
                f"the script has {len(self._answers)} answers, and this is call {number}",
                mend="give the ScriptedModel another answer, or a function",
            )
        return self._answers[number - 1]


def tool_call(name: str, /, **arguments: Any) -> Completion:
    """A completion that asks for one call of a tool: `tool_call("calculator_evaluate", expression="1+1")`."""
    return tool_calls((name, arguments))


def tool_calls(*calls: tuple[str, dict[str, Any] | str]) -> Completion:
    """A completion that asks for several calls at once; arguments that are a text are handed over as they are."""
    return Completion(
        text="",
        tool_calls=[
            ToolCall(
                id=new_id(), name=name, arguments=arguments if isinstance(arguments, str) else json.dumps(arguments)
            )
            for name, arguments in calls
        ],
        usage=Usage(model_calls=1),
    )
