"""Telemetry: readings come often, each at most once, and who comes late gets the last one."""

from statistics import mean

from dovecote import App, Message, MessageType, topics
from dovecote.testing import Network

thermometer, dashboard = App("thermometer"), App("dashboard")
apps = [thermometer, dashboard]
TOPIC = topics.tool_status("thermometer")  # of the class `status`: at most once, and retained
readings: list[float] = []


@dashboard.subscribe(TOPIC)
async def take(reading: Message) -> None:
    """A reading that is lost is no matter: the next one comes soon."""
    assert isinstance(reading.content, dict)  # noqa: S101 - so it is sent below
    readings.append(float(str(reading.content["celsius"])))


async def show(net: Network) -> list[str]:
    """Three readings, their mean, and what somebody is told who was not there."""
    readings.clear()
    for celsius in (20.0, 21.0, 22.0):
        await thermometer.bus.publish(TOPIC, {"celsius": celsius}, type=MessageType.STATUS)
    await net.bus.settled()
    last = await dashboard.running.values.last(TOPIC)
    return [f"mean of {len(readings)}: {mean(readings)}", f"last: {last.content if last else None}"]
