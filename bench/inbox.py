"""The inbox of an app, beside Dapr's FastAPI extension on the same broker and component."""

import asyncio

from bench import burst, latency, throughput, waiting
from bench.load import Load
from bench.rows import Row
from bench.systems import plain, running, served
from deploy.local.system import System


def measure(broker: str | None) -> list[Row]:
    """Rows on throughput, processor time, latency, waiting handlers and a burst."""
    with running([served("inbox"), plain("reference"), served("sender")], broker=broker) as system:
        return asyncio.run(_measure(system))


async def _measure(system: System) -> list[Row]:
    async with Load.through(system, "sender") as load:
        parts = (throughput, latency, waiting, burst)
        return [row for part in parts for row in await part.measure(system, load)]
