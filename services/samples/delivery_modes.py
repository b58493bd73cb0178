"""Delivery modes: how often a message may be handled is said by who sends it."""

from dovecote import App, DeliveryMode, Message
from dovecote.errors import UnavailableError
from dovecote.testing import Network

shop, bank = App("shop"), App("bank")
apps = [shop, bank]
tries: list[str] = []


@bank.subscribe("payments")
async def book(payment: Message) -> None:
    """The first try of each fails, as if a database were away for a moment."""
    tries.append(str(payment.content))
    if tries.count(str(payment.content)) == 1:
        raise UnavailableError("the books are closed")


async def show(net: Network) -> list[str]:
    """One in each mode; what is exactly once is sent twice under one key, and booked once."""
    tries.clear()
    await shop.bus.publish("payments", "at most once", delivery=DeliveryMode.AT_MOST_ONCE)
    await shop.bus.publish("payments", "at least once")
    for _ in range(2):
        once = DeliveryMode.EXACTLY_ONCE
        await shop.bus.publish("payments", "exactly once", delivery=once, idempotency_key="invoice 17")
        await net.bus.settled()
    return [f"{name}: {tries.count(name)} tries, the first failed" for name in dict.fromkeys(tries)]
