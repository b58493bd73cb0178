"""A question that is at a known place, and what must hold of it although something is killed there."""

import uuid
from pathlib import Path
from typing import Any, Final

from tests.support.waiting import wait_until
from tests.support.whole import Whole

_CALLS: Final = 4  # of the model, for one question
_SECONDS: Final = 0.4  # for each of them


def slow_model(system: Whole) -> str:
    """Make each step of a question take a while; returns the word that is the account, and in the answer.

    The steps are "look up", "find", "write" and "review". Earlier calls of the model are forgotten.
    """
    mark = uuid.uuid4().hex
    system.model.set_script(_script(mark))
    system.model.reset()
    return mark


def begun(system: Whole, mark: str, step: str, docs: Path, seconds: float = 20) -> str:
    """Ask; returns the task when the model is called for a step of it."""
    task = system.start(f"What does {mark} hold?", docs)
    wait_until(lambda: step in system.model.totals()["rules"], f"the model call {step!r}", seconds)
    return task


def answered(system: Whole, task: str, mark: str, seconds: float = 120) -> None:
    """Wait for the answer of a task, and for the whole system."""
    result = system.result(task, seconds)
    assert result["status"] == "completed", result["error"]
    assert result["answer"]["text"] == f"Written for {mark}."
    system.system.wait_ready()


def answered_although(system: Whole, victim: str, step: str, docs: Path, seconds: float = 120) -> None:
    """Kill a process at a step of a question: it is answered in time, and its effect takes place once."""
    mark = slow_model(system)
    task = begun(system, mark, step, docs, seconds / 6)
    system.system.kill(victim)
    answered(system, task, mark, seconds)
    # What was cut off is called once more; what is sent again is known, and calls nobody.
    assert _CALLS <= system.model.totals()["calls"] <= _CALLS + 1, system.model.totals()
    assert system.balance(mark) == 1


def _script(mark: str) -> dict[str, Any]:
    look_up = [
        {"name": "knowledge_search", "arguments": {"query": "lamp"}},
        {"name": "calculator_evaluate", "arguments": {"expression": "6 * 7"}},
        {"name": "ledger_deposit", "arguments": {"account": mark, "amount": 1}},
    ]
    rules: list[dict[str, Any]] = [
        {"name": "look up", "when": {"system": "clerk", "tool_results": 0}, "tool_calls": look_up},
        {"name": "find", "when": {"system": "clerk"}, "text": f"Found by {mark}."},
        {"name": "write", "when": {"system": "write the answer"}, "text": f"Written for {mark}."},
        {"name": "review", "when": {"system": "check the draft"}, "text": "APPROVE"},
    ]
    return {"rules": [{**rule, "delay": _SECONDS} for rule in rules]}
