"""The inbox of an app, beside Dapr's FastAPI extension on the same broker and component."""

import asyncio

from bench import latency, throughput, waiting
from bench.load import Load
from bench.rows import Row
from bench.systems import plain, running, served
from deploy.local.system import System


def measure() -> list[Row]:
    """Rows on throughput, processor time, latency and waiting handlers."""
    with running([served("inbox"), plain("reference"), served("sender")]) as system:
        return asyncio.run(_measure(system))


async def _measure(system: System) -> list[Row]:
    async with Load.through(system, "sender") as load:
        return [row for part in (throughput, latency, waiting) for row in await part.measure(system, load)]
