"""Large documents: what no broker takes lies in the state store meanwhile, and neither side sees a difference."""

from dovecote import App, Message
from dovecote.testing import Network

scanner, archive = App("scanner"), App("archive")
apps = [scanner, archive]
kept: list[int] = []


@archive.subscribe("documents")
async def keep(document: Message) -> None:
    """The content is whole, however it came."""
    kept.append(len(str(document.content)))


async def show(net: Network) -> list[str]:
    """A document of 20 MB: what went over the broker is its key."""
    kept.clear()
    await scanner.bus.publish("documents", "x" * 20_000_000, ttl=3600)
    await net.bus.settled()
    [event] = net.bus.events("documents")
    small = len(str(event)) < 1000  # noqa: PLR2004 - a key and an envelope are less
    return [f"kept {kept[0]:,} characters", f"on the broker: {'a key' if small else 'all of it'}"]
