"""Priorities: of what waits for an app, the most urgent is next; what can wait is not forgotten."""

import asyncio

from dovecote import App, Message, Priority
from dovecote.testing import Network

desk, nurse = App("desk"), App("nurse")
apps = [desk, nurse]
settings = {"concurrency": 1}  # one patient at a time, and one more who is urgent
seen: list[str] = []
busy = asyncio.Event()


@nurse.subscribe("patients")
async def see(patient: Message) -> None:
    """What is CRITICAL or HIGH waits in a lane of its own, in which CRITICAL goes first."""
    await busy.wait()
    seen.append(str(patient.content))


async def show(net: Network) -> list[str]:
    """The nurse is busy with one of each lane; those who come meanwhile are seen by priority."""
    seen.clear()
    busy.clear()
    for who, priority in [("first", Priority.NORMAL), ("first urgent", Priority.HIGH)]:
        await desk.bus.publish("patients", who, priority=priority)
    for priority in reversed(Priority):
        await desk.bus.publish("patients", priority.name, priority=priority)
    busy.set()
    await net.bus.settled()
    urgent = [who for who in seen if who in {"first urgent", "HIGH", "CRITICAL"}]
    return [f"urgent: {', '.join(urgent)}", f"others: {', '.join(who for who in seen if who not in urgent)}"]
