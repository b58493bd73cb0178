"""Expiry: what nobody wants any more is not handled, but kept as a dead letter that says so."""

from datetime import timedelta
from typing import Any

from dovecote import App, Message
from dovecote.messages import now
from dovecote.testing import Network

tower, pilot = App("tower"), App("pilot")
apps = [tower, pilot]
heard: list[str] = []


@pilot.subscribe("weather")
async def hear(report: Message) -> None:
    """Is called for what is still true."""
    heard.append(str(report.content))


async def show(net: Network) -> list[str]:
    """A report with a deadline that has passed, one whose time to live is over at once, and one that lives."""
    heard.clear()
    past = await tower.bus.publish("weather", "fog", deadline=now() - timedelta(seconds=1))
    brief = await tower.bus.publish("weather", "a gust", ttl=0.000001)
    await tower.bus.publish("weather", "sun", ttl=60)
    await net.bus.settled()
    letters: list[Any] = [
        await net.invoke("recorder", f"deadletters/{message.id}", verb="GET") for message in (past, brief)
    ]
    expired = ["expired" in letter["reasons"][0]["reason"] for letter in letters]
    return [f"heard: {heard}", f"dead letters, since they expired: {expired.count(True)}"]
