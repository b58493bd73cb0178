"""Calls: the record of what a scripted model was asked, for tests to count."""

from collections import Counter
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel

from services.demo_model.script import Facts
from services.demo_model.wire import ChatRequest

Answer = Literal["text", "tool_calls", "error", "drop"]


class Call(BaseModel):
    """One call: what came in, what went out, and which rule said so (None: no rule did)."""

    id: int
    time: datetime
    system: str
    question: str
    tools: list[str]
    messages: int
    answer: Answer
    rule: str | None


class Totals(BaseModel):
    """Numbers of calls: all, by kind of answer, by rule."""

    calls: int
    answers: dict[str, int]
    rules: dict[str, int]


class Calls(BaseModel):
    """All calls so far, oldest first, and their totals."""

    calls: list[Call]
    totals: Totals


class CallLog:
    """Keeps the calls of a running model in memory until it is reset."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._arrived = 0

    def arrive(self) -> int:
        """Number of the call that has just come in, counted from 1."""
        self._arrived += 1
        return self._arrived

    def record(self, number: int, request: ChatRequest, facts: Facts, answer: Answer, rule: str | None) -> None:
        """Write down a call, before it is answered, so that one that breaks off is there as well."""
        self._calls.append(
            Call(
                id=number,
                time=datetime.now(UTC),
                system=facts.words["system"].strip().partition("\n")[0],
                question=facts.message,
                tools=facts.tools,
                messages=len(request.messages),
                answer=answer,
                rule=rule,
            )
        )

    def report(self) -> Calls:
        """All calls and their totals."""
        answers = Counter(call.answer for call in self._calls)
        rules = Counter(call.rule for call in self._calls if call.rule is not None)
        totals = Totals(calls=len(self._calls), answers=dict(answers), rules=dict(rules))
        return Calls(calls=self._calls, totals=totals)

    def reset(self) -> None:
        """Forget all calls; the next one is number 1 again."""
        self._calls.clear()
        self._arrived = 0
