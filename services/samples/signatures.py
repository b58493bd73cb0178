"""Signatures: what was altered, or not signed by its sender, is a dead letter with that reason."""

from typing import Any

from dovecote import App, Message
from dovecote.codec.keys import new_keys
from dovecote.testing import Network

ann, bank = App("ann"), App("bank")
apps = [ann, bank]
settings = {"signatures": "require"}
private, public = new_keys(["ann", "bank", "recorder", "directory"], "1")  # `dovecote keys` makes such ones
secrets = {f"SIGNING_KEY_{name.upper()}": key for name, key in private.items()} | {"SIGNING_KEYS": public}
paid: list[str] = []


@bank.subscribe("payments")
async def pay(order: Message) -> None:
    """Is called with what `order.sender` has signed."""
    paid.append(f"{order.content} for {order.sender}")


async def show(net: Network) -> list[str]:
    """An order, and a copy of it in which somebody has put another sum."""
    paid.clear()
    await ann.bus.publish("payments", "10 crowns")
    [event] = net.bus.events("payments")
    await net.bus.publish_event("payments", event | {"id": "forged", "data": "99 crowns"})
    await net.bus.settled()
    letter: Any = await net.invoke("recorder", "deadletters/forged", verb="GET")
    return [f"paid: {paid}", f"refused: {letter['reasons'][0]['error']}"]
