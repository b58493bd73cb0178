"""How long a lone message is under way, from before it is published until its handler has it."""

from typing import Final

from bench.agreed import BULK, PLAIN, SINGLE
from bench.consumer import Consumer
from bench.load import Load
from bench.rows import Goal, Row, percentile
from deploy.local.system import System

_PER_SECOND: Final = 50
_WARM_UP, _COUNT = 50, 600
_NO_SLOWER: Final = Goal(of="ratio", sense="at most", bound=1.0)


async def measure(system: System, load: Load) -> list[Row]:
    """Rows on single and bulk subscriptions; the topics take turns, so that all meet the same machine."""
    consumers = {
        topic: Consumer(system, load, app, topic)
        for topic, app in ((SINGLE, "inbox"), (PLAIN, "reference"), (BULK, "inbox"))
    }
    delays: dict[str, list[float]] = {}
    for count in (_WARM_UP, _COUNT):
        for consumer in consumers.values():
            await consumer.start()
        await load.pace(list(consumers), count, _PER_SECOND)
        for topic, consumer in consumers.items():
            await consumer.reach(count)
            delays[topic] = await consumer.delays()
    return [
        _row(f"a lone message at {_PER_SECOND}/s, p{percent}{what}", percent, delays[topic], delays[PLAIN], goal)
        for topic, what, goal in ((SINGLE, "", _NO_SLOWER), (BULK, ", bulk subscription", None))
        for percent in (50, 99)
    ]


def _row(work: str, percent: int, ours: list[float], theirs: list[float], goal: Goal | None) -> Row:
    mine, other = percentile(ours, percent), percentile(theirs, percent)
    return Row.of(work, "ms", mine, other, goal=goal, note=f"{len(ours):,} messages each, taking turns")
