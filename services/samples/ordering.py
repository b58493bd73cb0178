"""Ordering: messages of one key are handled one after the other, those of different keys at the same time."""

import asyncio

from dovecote import App, Message
from dovecote.testing import Network

bank, books = App("bank"), App("books")
apps = [bank, books]
booked: list[str] = []


@books.bus.subscribe("accounts", order_key=lambda message: message.order_key)
async def book(entry: Message) -> None:
    """The first entry of an account takes longest, and is booked first all the same."""
    for _ in range(10 - int(str(entry.content))):
        await asyncio.sleep(0)
    booked.append(f"{entry.order_key}{entry.content}")


async def show(net: Network) -> list[str]:
    """Ten entries of two accounts; across replicas this holds where the broker keeps the order."""
    booked.clear()
    for number in range(10):
        for account in "ab":
            await bank.bus.publish("accounts", number, order_key=account)
    await net.bus.settled()
    return [" ".join(entry for entry in booked if entry.startswith(account)) for account in "ab"]
