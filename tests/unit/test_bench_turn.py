"""The arithmetic of the benchmark of turns, and the tally of messages."""

from datetime import UTC, datetime
from typing import Any

import pytest

from bench.agreed import MODEL_SECONDS, TOOL_SECONDS
from bench.apps.tally import Tally
from bench.turn import Turn
from dovecote import AgentResult, Message, MessageType, Step

SENT = 1_800_000_000.0


def step(kind: Any, begins: float, seconds: float) -> Step:
    started = datetime.fromtimestamp(SENT + begins, UTC)
    return Step(agent="turner", kind=kind, name=kind, started=started, seconds=seconds)


@pytest.fixture
def turn() -> Turn:
    steps = [
        step("model", 0.010, MODEL_SECONDS + 0.003),
        step("tool", 0.070, TOOL_SECONDS + 0.004),
        step("model", 0.100, MODEL_SECONDS + 0.002),
    ]
    result = AgentResult(agent="turner", text="rested", steps=steps)
    reply = Message(type=MessageType.RESPONSE, sender="turner", content=result.model_dump(mode="json"))
    return Turn(SENT, SENT + 0.160, reply)


def test_the_overhead_of_a_turn_is_what_model_and_tool_do_not_take(turn: Turn) -> None:
    assert turn.overhead == pytest.approx(40.0, abs=0.01)


def test_the_parts_of_a_turn_say_where_its_overhead_lies(turn: Turn) -> None:
    expected = {
        "task to model": 10.0,
        "first model call": 3.0,
        "model to tool": 7.0,
        "tool call": 4.0,
        "tool to model": 6.0,
        "second model call": 2.0,
        "model to reply": 8.0,
    }
    assert turn.parts() == pytest.approx(expected, abs=0.01)
    assert sum(turn.parts().values()) == pytest.approx(turn.overhead, abs=0.01)


async def test_a_message_that_comes_twice_counts_once() -> None:
    tally = Tally()
    for number in (1, 2, 2):
        await tally.add({"number": number, "sent": 0})
    assert (tally.deliveries, len(tally.delays)) == (3, 2)


async def test_a_tally_that_is_not_reached_in_time_still_says_what_came() -> None:
    tally = Tally()
    await tally.add({"number": 1, "sent": 0})
    await tally.reach(2, limit=0.01)
    assert len(tally.delays) == 1
