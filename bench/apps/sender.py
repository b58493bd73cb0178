"""Sender: lends its sidecar to the load, and takes the replies to it."""

import asyncio
import time

from dovecote import App, Message, topics
from dovecote.errors import NotFoundError

sender = App("sender")
arrivals: dict[str, tuple[int, Message]] = {}
arrived = asyncio.Condition()


@sender.subscribe(topics.inbox("sender"))
async def take(reply: Message) -> None:
    """A reply, by the id of the message that it answers."""
    at = time.monotonic_ns()
    async with arrived:
        arrivals[str(reply.correlation_id)] = at, reply
        arrived.notify_all()


@sender.router.get("/replies/{message_id}")
async def reply_to(message_id: str) -> tuple[int, Message]:
    """When a reply came, in ns, and the reply; waits for it."""
    async with arrived:
        try:
            await asyncio.wait_for(arrived.wait_for(lambda: message_id in arrivals), 60)
        except TimeoutError as error:
            raise NotFoundError(f"message {message_id!r} was not answered within 60 s") from error
    return arrivals.pop(message_id)


app = sender.asgi
