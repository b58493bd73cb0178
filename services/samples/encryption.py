"""Encryption: content is sealed on its way, with keys of Dapr's cryptography component, which may change."""

from dovecote import App, Message
from dovecote.testing import Network

doctor, ward = App("doctor"), App("ward")
apps = [doctor, ward]
keys = {"2025": b"o" * 32, "2026": b"n" * 32}  # what is sealed with the old one is still read
settings = {"encryption_key": "2026", "compress_over": 100}
read: list[str] = []


@ward.subscribe("findings")
async def take(finding: Message) -> None:
    """Gets the content as it was."""
    read.append(str(finding.content))


async def show(net: Network) -> list[str]:
    """What is read, and what lies on the broker."""
    read.clear()
    await doctor.bus.publish("findings", "all is well " * 20)
    await net.bus.settled()
    [event] = net.bus.events("findings")
    return [f"read: {read[0][:11]}", f"key {event['encryptionkeyid']}", f"plain: {'well' in str(event)}"]
