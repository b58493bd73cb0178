"""Constrained agents: a device has no library, no CloudEvents, no state: a client of the broker, and JSON."""

from dovecote import App, Message, Reject
from dovecote.testing import Network

heating = App("heating")
apps = [heating]
READINGS, VALVE = "devices/room-1/readings", "devices/room-1/valve"


@heating.subscribe(READINGS, raw=True)
async def regulate(reading: Message) -> None:
    """The device sends as little as it can, and is sent as little: `{"t": 17.5}`, and `{"open": 35}`."""
    if not isinstance(reading.content, dict) or not isinstance(reading.content.get("t"), float):
        raise Reject(f"{reading.content!r} is no reading, such as {{'t': 17.5}}")
    missing = 21.0 - float(str(reading.content["t"]))
    await heating.running.ports.bus.publish_content(VALVE, {"open": round(max(0.0, min(100.0, missing * 10)))})


async def show(net: Network) -> list[str]:
    """What the device would publish, and what it would be sent."""
    for celsius in (17.5, 20.5, 23.0):
        await net.bus.publish_event(READINGS, {"t": celsius})
    await net.bus.settled()
    return [str(told) for told in net.bus.events(VALVE)]
