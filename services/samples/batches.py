"""Batches: many messages in few calls; what of them is not taken is named, each with its reason."""

from dovecote import App, Message
from dovecote.errors import BatchError
from dovecote.testing import Network

meter, ledger = App("meter"), App("ledger")
apps = [meter, ledger]
booked: list[int] = []


@ledger.subscribe("readings", bulk=True)
async def book(reading: Message) -> None:
    """A subscription in bulk is handed many at a time; its handler sees one after the other."""
    booked.append(int(str(reading.content)))


async def show(net: Network) -> list[str]:
    """A hundred at once, and two while the broker is away."""
    booked.clear()
    sent = await meter.bus.publish_batch("readings", [*range(100)])
    await net.bus.settled()
    net.bus.available = False
    try:
        await meter.bus.publish_batch("readings", [1, 2])
    except BatchError as error:
        refused = error.failed
    net.bus.available = True
    return [f"sent {len(sent)}, booked {sum(booked)}", f"not taken: {len(refused)}", *set(refused.values())]
