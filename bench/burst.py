"""Whether a burst that is much faster than its consumer loses anything, and how long it takes."""

import time
from typing import Final

from bench.agreed import SINGLE
from bench.consumer import Consumer
from bench.load import Load
from bench.rows import Row
from deploy.local.system import System

_COUNT: Final = 100_000


async def measure(system: System, load: Load) -> list[Row]:
    """One row; raises RuntimeError if a message of the burst does not arrive."""
    consumer = Consumer(system, load, "inbox", SINGLE)
    await consumer.start()
    began = time.monotonic_ns()
    await load.backlog(SINGLE, _COUNT)
    published = time.monotonic_ns()
    last = await consumer.reach(_COUNT)
    return [
        Row.of(
            f"a burst of {_COUNT:,} messages, none lost",
            "messages/s",
            _COUNT / (last - began) * 1e9,
            note=f"published at {_COUNT / (published - began) * 1e9:,.0f} messages/s; one message a request",
        )
    ]
