"""Sender: lends its sidecar to the load, and takes the replies to it."""

import asyncio
import time

from bench.agreed import REPLIES
from dovecote import App, Message
from dovecote.errors import NotFoundError

sender = App("sender")
arrivals: dict[str, tuple[float, Message]] = {}
arrived = asyncio.Condition()


@sender.subscribe(REPLIES)
async def take(reply: Message) -> None:
    """A reply, kept by the id of the message that it answers."""
    at = time.time()
    async with arrived:
        arrivals[str(reply.correlation_id)] = at, reply
        arrived.notify_all()


@sender.router.get("/replies/{message_id}")
async def reply_to(message_id: str) -> tuple[float, Message]:
    """When a reply came (seconds of the epoch), and the reply; waits for it."""
    async with arrived:
        try:
            await asyncio.wait_for(arrived.wait_for(lambda: message_id in arrivals), 60)
        except TimeoutError as error:
            raise NotFoundError(f"message {message_id!r} was not answered within 60 s") from error
    return arrivals.pop(message_id)


app = sender.asgi
