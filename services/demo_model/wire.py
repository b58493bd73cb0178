"""The chat completions protocol: requests as daprd and the OpenAI clients send them, and the replies to them."""

import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

MODEL = "demonstration"


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class TextPart(_Wire):
    """One part of a message whose content is a list; only text can be answered."""

    type: Literal["text"] = "text"
    text: str


class FunctionCall(_Wire):
    """A tool's name and its arguments: JSON text, which nobody has checked."""

    name: str
    arguments: str = "{}"


class ToolCall(_Wire):
    """A call that an assistant message asks for; `id` is what its result refers to."""

    id: str = ""
    type: Literal["function"] = "function"
    function: FunctionCall


class ChatMessage(_Wire):
    """One message of the conversation; a result of a tool has the role `tool`."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None

    @property
    def text(self) -> str:
        """Content as one string, empty where there is none."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class FunctionDefinition(_Wire):
    """What a tool is called, what it does, and the JSON Schema of its arguments."""

    name: str = Field(min_length=1)
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolDefinition(_Wire):
    """A tool that may be called."""

    type: Literal["function"] = "function"
    function: FunctionDefinition


class NamedFunction(_Wire):
    """The one function that a tool choice names."""

    name: str


class NamedTool(_Wire):
    """A tool choice that names the tool to call."""

    type: Literal["function"] = "function"
    function: NamedFunction


class ResponseFormat(_Wire):
    """The form asked of the answer; only running text is offered."""

    type: Literal["text"]


class ChatRequest(_Wire):
    """Body of POST /v1/chat/completions; options that change no words (temperature, seed, user ...) are ignored."""

    messages: list[ChatMessage] = Field(min_length=1)
    tools: list[ToolDefinition] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    stream: Literal[False] | None = None
    n: Literal[1] | None = None
    response_format: ResponseFormat | None = None

    @field_validator("tools")
    @classmethod
    def _names_differ(cls, tools: list[ToolDefinition] | None) -> list[ToolDefinition] | None:
        names = [tool.function.name for tool in tools or []]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"tools must have different names, {min(twice)!r} is there twice")
        return tools


@dataclass(frozen=True)
class Call:
    """A call of a tool; `arguments` is JSON text, or whatever a script says instead."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Reply:
    """What the model says: a text, or the tools it wants called."""

    text: str = ""
    calls: list[Call] = field(default_factory=list)


def completion(request: ChatRequest, reply: Reply) -> dict[str, Any]:
    """Body of the response; its ids follow from the conversation, so the same request gets the same ids."""
    digest = hashlib.sha256(request.model_dump_json().encode()).hexdigest()
    calls = [
        {
            "id": f"call_{digest[:16]}_{at}",
            "type": "function",
            "function": {"name": call.name, "arguments": _sendable(call.arguments)},
        }
        for at, call in enumerate(reply.calls)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": None if calls else _sendable(reply.text)}
    if calls:
        message["tool_calls"] = calls
    return {
        "id": f"chatcmpl-{digest[:24]}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}],
        "usage": _usage(request, reply),
    }


def error_body(message: str, kind: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """Body of an error as the OpenAI clients read it."""
    return {"error": {"message": _sendable(message), "type": kind, "param": param, "code": code}}


def _sendable(text: str) -> str:
    """Text without lone surrogates, which JSON inside a string may hold and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def _usage(request: ChatRequest, reply: Reply) -> dict[str, int]:
    sent = [message.text for message in request.messages]
    sent += [call.function.arguments for message in request.messages for call in message.tool_calls or []]
    sent += [tool.model_dump_json() for tool in request.tools or []]
    prompt = sum(len(text.split()) for text in sent)
    answered = len(reply.text.split()) + sum(len(call.arguments.split()) + 1 for call in reply.calls)
    return {"prompt_tokens": prompt, "completion_tokens": answered, "total_tokens": prompt + answered}


def problem(error: ValidationError) -> tuple[str, str]:
    """Place (in dots, empty for the whole) and message of what is wrong; of alternatives, the deepest."""
    found = max(error.errors(include_url=False, include_context=False), key=lambda one: len(one["loc"]))
    return ".".join(str(part) for part in found["loc"]), found["msg"]


def json_or_none(text: str) -> Any:
    """Value of a JSON text, or None where it is not JSON (or `null`, or nested beyond all sense)."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
