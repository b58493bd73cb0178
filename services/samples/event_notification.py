"""Event notification: an app tells what has happened, and whoever wants to know is told, each once."""

from dovecote import App, Message
from dovecote.testing import Network

shop, mailer, depot = App("shop"), App("mailer"), App("depot")
apps = [shop, mailer, depot]
told: list[str] = []


@mailer.subscribe("orders/placed")
async def confirm(order: Message) -> None:
    """Each order is confirmed."""
    told.append(f"mailer confirms {order.content}")


@depot.subscribe("orders/placed", match="event.data.pieces > 10.0")
async def call_a_lorry(order: Message) -> None:
    """A large order needs a lorry: which one is large, the sidecar finds out."""
    told.append(f"depot calls a lorry for {order.content}")


async def show(net: Network) -> list[str]:
    """Two orders, the second a large one."""
    told.clear()
    for pieces in (1, 11):
        await shop.bus.publish("orders/placed", {"pieces": pieces})
    await net.bus.settled()
    return sorted(told)
