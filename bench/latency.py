"""How long a lone message is under way, from before it is published until its handler has it."""

from typing import Final

from bench.agreed import BULK, PLAIN, SINGLE
from bench.consumer import Consumer
from bench.load import Load
from bench.rows import Goal, Row, percentile
from deploy.local.system import System

_PER_SECOND: Final = 50
_ROUNDS, _WARM_UP, _COUNT = 3, 50, 300
_NO_SLOWER: Final = Goal(of="ratio", sense="at most", bound=1.0)


async def measure(system: System, load: Load) -> list[Row]:
    """Rows on single and bulk subscriptions, each taking turns with the reference."""
    theirs = Consumer(system, load, "reference", PLAIN)
    rows = []
    for topic, how, goal in ((SINGLE, "", _NO_SLOWER), (BULK, ", bulk subscription", None)):
        pair = [Consumer(system, load, "inbox", topic), theirs]
        await _delays(load, pair, _WARM_UP)
        rounds = [await _delays(load, pair, _COUNT) for _ in range(_ROUNDS)]
        rows += [
            Row.of_rounds(
                f"a lone message at {_PER_SECOND}/s, p{percent}{how}",
                "ms",
                [percentile(mine, percent) for mine, _ in rounds],
                [percentile(other, percent) for _, other in rounds],
                goal=goal,
                note=f"{_COUNT} messages each a round, taking turns",
            )
            for percent in (50, 99)
        ]
    return rows


async def _delays(load: Load, consumers: list[Consumer], count: int) -> list[list[float]]:
    """Delays in ms of `count` messages to each of the consumers, so that all meet the same machine."""
    for consumer in consumers:
        await consumer.start()
    await load.pace([consumer.topic for consumer in consumers], count, _PER_SECOND)
    for consumer in consumers:
        await consumer.reach(count)
    return [await consumer.delays() for consumer in consumers]
