"""Presence: whether an app is there is told when it changes, and may be asked at any time."""

from dovecote import App, Message, topics
from dovecote.testing import Network

lamp, panel = App("lamp"), App("panel")
apps = [lamp, panel]
seen: list[str] = []


@panel.subscribe(topics.client_status("lamp"))
async def look(status: Message) -> None:
    """What a last will tells: online, gone in order, or gone without a word."""
    seen.append(f"told: {status.content}")


async def show(net: Network) -> list[str]:
    """A lamp that is there, and leaves."""
    directory = panel.running.directory
    present = await directory.presence("lamp")
    await net.stop("lamp")
    absent = await directory.presence("lamp")
    await net.bus.settled()
    return [*seen, *(f"asked: {one.state}" for one in (present, absent) if one)]
