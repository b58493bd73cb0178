"""The whole set of `dapr.yaml`: how soon it is ready, what it has in memory, and the questions it answers."""

import asyncio
import time
from statistics import median
from typing import Final

from bench import questions
from bench.processes import use_by_kind
from bench.rows import Row
from bench.systems import fresh_home, running

_STARTS: Final = 2


def measure(broker: str | None) -> list[Row]:
    """Rows on starting, memory and questions."""
    starts = [_start(broker) for _ in range(_STARTS - 1)]
    began = time.monotonic()
    with running(None, with_model=True, broker=broker) as system, fresh_home() as folder:
        starts.append(time.monotonic() - began)
        idle = use_by_kind(system)
        asked = asyncio.run(questions.measure(system, folder))
        busy = use_by_kind(system)
        apps = len(system.apps)
    return [
        Row.of(
            "from start to ready, the whole set",
            "s",
            median(starts),
            note=f"{apps} apps; {', '.join(f'{seconds:.1f}' for seconds in starts)} s, each in an empty home",
        ),
        *(
            Row.of(
                f"memory of all {kind}, PSS",
                "MB",
                idle[kind].pss,
                note=f"when ready; after the questions {busy[kind].pss:.0f} MB",
            )
            for kind in idle
        ),
        *asked,
    ]


def _start(broker: str | None) -> float:
    began = time.monotonic()
    with running(None, with_model=True, broker=broker):
        return time.monotonic() - began
