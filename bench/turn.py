"""An agent's turn: two model calls and a tool, from the task's publishing to the reply's arrival."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from bench.agreed import BARE, MODEL_SECONDS, REPLIES, TOOL_SECONDS
from bench.load import Load
from bench.processes import pid_of, use_of
from bench.rows import Goal, Row
from bench.systems import fresh_home, plain, running, served
from deploy.local.runfile import App
from deploy.local.system import System
from dovecote import AgentResult, Message, MessageType, topics

_WARM_UP, _COUNT = 20, 30
_WORK: Final = 2 * MODEL_SECONDS + TOOL_SECONDS
_LEAN: Final = Goal(of="ours", sense="at most", bound=90)
_SCRIPT: Final = {
    "strict": True,
    "rules": [
        {
            "when": {"tool_results": 0},
            "delay": MODEL_SECONDS,
            "tool_calls": [{"name": "clock_rest", "arguments": {"reason": "to be measured"}}],
        },
        {"when": {"tool_results": 1}, "delay": MODEL_SECONDS, "text": "I rested."},
    ],
}


@dataclass(frozen=True)
class Turn:
    """One turn: when its task was sent and its reply arrived, in seconds of the epoch, and the reply."""

    sent: float
    arrived: float
    reply: Message

    @property
    def overhead(self) -> float:
        """Milliseconds beyond what model and tool take."""
        return (self.arrived - self.sent - _WORK) * 1000

    def parts(self) -> dict[str, float]:
        """Where the overhead lies, in ms: the agent's steps say when each began, and how long it took."""
        steps = AgentResult.model_validate(self.reply.content).steps
        begins = [step.started.timestamp() for step in steps]
        think, act, answer = ((begin, begin + step.seconds) for begin, step in zip(begins, steps, strict=True))
        return {
            "task to model": (think[0] - self.sent) * 1000,
            "first model call": (think[1] - think[0] - MODEL_SECONDS) * 1000,
            "model to tool": (act[0] - think[1]) * 1000,
            "tool call": (act[1] - act[0] - TOOL_SECONDS) * 1000,
            "tool to model": (answer[0] - act[1]) * 1000,
            "second model call": (answer[1] - answer[0] - MODEL_SECONDS) * 1000,
            "model to reply": (self.arrived - answer[1]) * 1000,
        }


def measure(broker: str | None) -> list[Row]:
    """Rows on the time of a turn, its model calls, and the memory of its app."""
    with fresh_home() as folder:
        script = folder / "script.json"
        script.write_text(json.dumps(_SCRIPT))
        apps: list[str | App] = ["directory", *map(served, ("turner", "clock", "sender")), plain("bare")]
        with running(apps, {"DOVECOTE_MODEL_SCRIPT": str(script)}, with_model=True, broker=broker) as system:
            return asyncio.run(_measure(system))


async def _measure(system: System) -> list[Row]:
    async with Load.through(system, "sender") as load:
        turns = Turns(system, load)
        for _ in range(_WARM_UP):
            await turns.of_agent()
            await turns.of_bare()
        before = await turns.model_calls()
        pairs = [(await turns.of_agent(), await turns.of_bare()) for _ in range(_COUNT)]
        calls = (await turns.model_calls() - before) / _COUNT
    ours, theirs = [list(side) for side in zip(*pairs, strict=True)]
    use, other = use_of(pid_of(system, "turner")), use_of(pid_of(system, "bare"))
    memory = f"after {_WARM_UP + _COUNT} turns"
    return [
        Row.of(
            "a turn of two model calls and a tool, beyond their time, p50",
            "ms",
            median(turn.overhead for turn in ours),
            median(turn.overhead for turn in theirs),
            goal=Goal(of="ours", sense="at most", bound=40),
            note=f"alone; reference: a bare workflow that sleeps instead; of ours: {_parts(ours)}",
        ),
        Row.of("model calls of such a turn", "calls", calls, goal=Goal(of="ours", sense="at most", bound=2)),
        Row.of(
            "memory of an agent's app, RSS",
            "MB",
            use.rss,
            other.rss,
            goal=_LEAN,
            note=f"{memory}; reference: the bare workflow's app",
        ),
        Row.of("memory of an agent's app, PSS", "MB", use.pss, other.pss, goal=_LEAN, note=memory),
    ]


def _parts(turns: Sequence[Turn]) -> str:
    rows = [turn.parts() for turn in turns]
    return ", ".join(f"{part} {median(row[part] for row in rows):.1f}" for part in rows[0])


class Turns:
    """Asks for turns, one at a time."""

    def __init__(self, system: System, load: Load) -> None:
        self._load = load
        self._replies = f"{system.url('sender')}/replies"
        self._calls = f"{system.env['DEMO_MODEL_URL'].removesuffix('/v1')}/calls"

    async def of_agent(self) -> Turn:
        """A turn of the agent."""
        return await self._turn(topics.inbox("turner"), "Rest.")

    async def of_bare(self) -> Turn:
        """The same steps as a bare workflow."""
        return await self._turn(BARE, {"reply_to": REPLIES})

    async def model_calls(self) -> int:
        """Calls of the model so far."""
        return int((await self._load.get(self._calls))["totals"]["calls"])

    async def _turn(self, topic: str, content: Any) -> Turn:
        sent = time.time()
        task = Message(type=MessageType.TASK, sender="sender", content=content, reply_to=REPLIES)
        task = task.model_copy(update={"conversation_id": task.id})  # so that its news are told, as in a real task
        await self._load.bus.publish(topic, task)
        arrived, reply = await self._load.get(f"{self._replies}/{task.id}")
        message = Message.model_validate(reply)
        if message.type is MessageType.ERROR:
            raise RuntimeError(f"the turn failed: {message.content}")
        return Turn(sent, arrived, message)
