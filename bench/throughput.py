"""How fast an inbox takes a backlog, and what a message costs the app, then and at a steady pace."""

from typing import Final

from bench.agreed import BULK, PLAIN
from bench.consumer import Consumer
from bench.load import Load
from bench.rows import Goal, Row
from deploy.local.system import System

_ROUNDS: Final = 3
_OURS, _THEIRS = 9_000, 3_000  # messages of a backlog: about the same time to take
_STEADY, _PER_SECOND, _BATCH = 4_000, 2_000, 20


async def measure(system: System, load: Load) -> list[Row]:
    """Rows on throughput and on processor time."""
    ours = Consumer(system, load, "inbox", BULK)
    theirs = Consumer(system, load, "reference", PLAIN)
    for consumer in (ours, theirs):
        await consumer.drain(1_000)
    return [*await _backlogs(ours, theirs), await _steady(ours, theirs)]


async def _backlogs(ours: Consumer, theirs: Consumer) -> list[Row]:
    rounds = [(await ours.drain(_OURS), await theirs.drain(_THEIRS)) for _ in range(_ROUNDS)]
    return [
        Row.of_rounds(
            "inbox throughput, a backlog taken",
            "messages/s",
            [mine.per_second for mine, _ in rounds],
            [other.per_second for _, other in rounds],
            goal=Goal(of="ratio", sense="at least", bound=3.5),
            note="400 bytes, bulk subscription",
        ),
        Row.of_rounds(
            "app CPU per message, a backlog taken",
            "µs",
            [mine.cpu for mine, _ in rounds],
            [other.cpu for _, other in rounds],
            goal=Goal(of="ratio", sense="at most", bound=1 / 6),
            note="user and system time of the app's process",
        ),
    ]


async def _steady(ours: Consumer, theirs: Consumer) -> Row:
    rounds = [(await _pace(ours), await _pace(theirs)) for _ in range(_ROUNDS)]
    return Row.of_rounds(
        f"app CPU per message, {_PER_SECOND:,} messages/s",
        "µs",
        [mine for mine, _ in rounds],
        [other for _, other in rounds],
        goal=Goal(of="ratio", sense="at most", bound=1 / 6),
        note=f"published {_BATCH} at a time",
    )


async def _pace(consumer: Consumer) -> float:
    await consumer.start()
    cpu = consumer.cpu()
    await consumer.load.pace_batches(consumer.topic, _STEADY, _PER_SECOND, _BATCH)
    await consumer.reach(_STEADY)
    return (consumer.cpu() - cpu) / _STEADY * 1e6
