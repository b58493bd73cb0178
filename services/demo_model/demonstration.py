"""The demonstration model: what it replies follows by plain rules from the messages and the tools offered."""

import json
from dataclasses import dataclass

from services.demo_model.answering import answer_from_notes, answer_from_tools
from services.demo_model.choosing import better_query, choose
from services.demo_model.material import Material, from_notes, from_result
from services.demo_model.notes import CLOSING
from services.demo_model.prompt import Prompt, read_prompt
from services.demo_model.verdict import judge, verdict_asked
from services.demo_model.wire import (
    Call,
    ChatMessage,
    ChatRequest,
    FunctionCall,
    FunctionDefinition,
    NamedTool,
    Reply,
    json_or_none,
)

_MAX_ROUNDS = 2


@dataclass(frozen=True)
class Turn:
    """The messages since the last one of the user, and what went before them."""

    instructions: str
    users: list[str]
    since: list[ChatMessage]

    @classmethod
    def of(cls, messages: list[ChatMessage]) -> "Turn":
        """Turn that the messages end with."""
        last = max((at for at, message in enumerate(messages) if message.role == "user"), default=-1)
        return cls(
            "\n".join(message.text for message in messages if message.role in {"system", "developer"}),
            [message.text for message in messages if message.role == "user"],
            messages[last + 1 :],
        )

    @property
    def question(self) -> str:
        """The user's last message, empty where there is none."""
        return self.users[-1] if self.users else ""

    @property
    def rounds(self) -> int:
        """How often tools were called in this turn."""
        return sum(bool(message.tool_calls) for message in self.since if message.role == "assistant")

    @property
    def calls(self) -> list[FunctionCall]:
        """Tools called in this turn."""
        return [call.function for message in self.since for call in message.tool_calls or []]

    @property
    def results(self) -> list[tuple[str, str, str]]:
        """Results of this turn: the tool's name, the arguments it was called with, what it returned."""
        by_id = {call.id: call.function for message in self.since for call in message.tool_calls or []}
        found = []
        for message in self.since:
            if message.role in {"tool", "function"}:
                call = by_id.get(message.tool_call_id or "", FunctionCall(name=message.name or "tool"))
                found.append((call.name, call.arguments, message.text))
        return found


def reply(request: ChatRequest) -> Reply:
    """Reply to a request: a verdict, calls of tools, or an answer from the material in the conversation."""
    turn = Turn.of(request.messages)
    asked = verdict_asked(turn.instructions)
    if asked:
        return _said(judge(asked, turn.users))
    prompt = read_prompt(turn.question)
    notes = from_notes(prompt.notes)
    if not turn.results:
        calls = _limited(choose(prompt.question, _offered(request)), request)
        if calls:
            return Reply(calls=calls)
        return _said(answer_from_notes(prompt.question, notes))
    material = notes
    for name, arguments, content in turn.results:
        material += from_result(name, arguments, content)
    if turn.rounds < _MAX_ROUNDS:
        calls = _limited(_second_round(prompt, turn, request, material), request)
        if calls:
            return Reply(calls=calls)
    return _said(answer_from_tools(prompt.question, material))


def _said(text: str) -> Reply:
    return Reply(text=f"{text}\n\n{CLOSING}")


def _offered(request: ChatRequest) -> list[FunctionDefinition]:
    tools = [tool.function for tool in request.tools or []]
    if request.tool_choice == "none":
        return []
    if isinstance(request.tool_choice, NamedTool):
        return [tool for tool in tools if tool.name == request.tool_choice.function.name]
    return tools


def _limited(calls: list[Call], request: ChatRequest) -> list[Call]:
    return calls[:1] if request.parallel_tool_calls is False else calls


def _second_round(prompt: Prompt, turn: Turn, request: ChatRequest, material: Material) -> list[Call]:
    """What was not called yet where calls may not be parallel; or a search again that found nothing."""
    fitting = choose(prompt.question, _offered(request))
    called = {call.name for call in turn.calls}
    left = [call for call in fitting if call.name not in called]
    if left or material:
        return left
    again = []
    for call in fitting:
        arguments = json_or_none(call.arguments)
        for name, value in arguments.items():
            narrower = better_query(prompt.question, value) if isinstance(value, str) else None
            if narrower:
                again.append(Call(call.name, json.dumps({**arguments, name: narrower})))
                break
    return again
