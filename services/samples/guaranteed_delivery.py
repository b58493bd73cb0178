"""Guaranteed delivery: what was asked is done once, though the receiver is away and the message comes twice."""

import asyncio

from dovecote import App, Message, MessageType
from dovecote.testing import Network

desk, printer = App("desk", requests=True), App("printer")
apps = [desk, printer]
printed: list[str] = []


@printer.bus.subscribe(types=[MessageType.QUERY])
async def print_out(job: Message) -> str:
    """The answer is kept under the job's id: a job that comes again is answered, and not printed again."""
    printed.append(str(job.content))
    return f"printed {job.content!r}"


async def show(net: Network) -> list[str]:
    """The printer is away when it is asked; it is asked again until it has answered."""
    printed.clear()
    await net.stop("printer")
    asked = asyncio.create_task(desk.bus.request("printer", "a letter", timeout=30, id="job-1"))
    await asyncio.sleep(0)
    await net.start("printer")
    first = await asked
    again = await desk.bus.request("printer", "a letter", timeout=30, id="job-1")
    return [str(first.content), str(again.content), f"on paper: {printed}"]
