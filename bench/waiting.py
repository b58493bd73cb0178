"""How many messages a second go through a handler that waits, as one does for a model."""

from typing import Final

from bench.agreed import WAIT_SECONDS, WAITING_BULK, WAITING_PLAIN, WAITING_SINGLE
from bench.consumer import Consumer
from bench.load import Load
from bench.rows import Goal, Row
from deploy.local.system import System

_ROUNDS: Final = 2
_COUNT: Final = 2_000
_FAST_ENOUGH: Final = Goal(of="ours", sense="at least", bound=1_000)


async def measure(system: System, load: Load) -> list[Row]:
    """Rows on bulk and single subscriptions."""
    consumers = [
        Consumer(system, load, app, topic)
        for app, topic in (("inbox", WAITING_BULK), ("inbox", WAITING_SINGLE), ("reference", WAITING_PLAIN))
    ]
    rounds = [[(await consumer.drain(_COUNT)).per_second for consumer in consumers] for _ in range(_ROUNDS)]
    bulk, single, plain = zip(*rounds, strict=True)
    work = f"a handler that waits {WAIT_SECONDS * 1000:g} ms"
    return [
        Row.of_rounds(f"{work}, bulk subscription", "messages/s", bulk, plain, goal=_FAST_ENOUGH),
        Row.of_rounds(f"{work}, one message a request", "messages/s", single, plain),
    ]
