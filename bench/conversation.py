"""A message more in a conversation: the 10,000th beside the 10th."""

import asyncio
import time
from statistics import median
from typing import Final
from urllib.parse import urlsplit

from bench.rows import Goal, Row
from bench.systems import running, served
from deploy.local.system import System
from dovecote import Conversation, Conversations
from dovecote.appendlog import CHUNK_ENTRIES
from dovecote.dapr.sidecar import Sidecar
from dovecote.dapr.state import DaprState
from dovecote.settings import Settings

_LONG, _SHORT = 10_000, 10
_ROUNDS: Final = 3
# As many as make each place in a chunk count the same.
_EACH: Final = 3 * CHUNK_ENTRIES
_TEXT: Final = "x" * 330
_FLAT: Final = Goal(of="ratio", sense="at most", bound=1.2)


def measure(broker: str | None) -> list[Row]:
    """A row on the cost of a message by the length of its conversation."""
    with running([served("sender")], broker=broker) as system:
        return asyncio.run(_measure(system))


async def _measure(system: System) -> list[Row]:
    sidecar = Sidecar(urlsplit(system.sidecar_url("sender")).port or 0, Settings().dapr_api_token)
    try:
        conversations = Conversations(DaprState(sidecar))
        long = await conversations.start()
        for _ in range(_LONG):
            await _add(long)
        ours, theirs = [], []
        for _ in range(_ROUNDS):
            short = await conversations.start()
            for _ in range(_SHORT):
                await _add(short)
            times = [(await _add(long), await _add(short)) for _ in range(_EACH)]
            ours.append(median(of_long for of_long, _ in times))
            theirs.append(median(of_short for _, of_short in times))
    finally:
        await sidecar.close()
    note = f"400 bytes, {_EACH} each a round, taking turns; reference: from the {_SHORT}th on"
    work = f"a message more in a conversation, from the {_LONG:,}th on, p50"
    return [Row.of_rounds(work, "ms", ours, theirs, goal=_FLAT, note=note)]


async def _add(conversation: Conversation) -> float:
    """Milliseconds that a message takes."""
    began = time.perf_counter()
    await conversation.add_message("bench", _TEXT)
    return (time.perf_counter() - began) * 1000
