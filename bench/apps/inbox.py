"""Inbox: a Dovecote app that takes messages one by one and in bulk, at once and after a wait."""

import asyncio

from bench.agreed import BULK, SINGLE, WAIT_SECONDS, WAITING_BULK, WAITING_SINGLE
from bench.apps.tally import Tallies
from dovecote import App, Message

inbox = App("inbox")
tallies = Tallies()
tallies.add_routes(inbox.router)


@inbox.subscribe(SINGLE)
async def take(message: Message) -> None:
    """One message a request."""
    await tallies[SINGLE].add(message.content)


@inbox.subscribe(BULK, bulk=True)
async def take_bulk(message: Message) -> None:
    """Many messages a request."""
    await tallies[BULK].add(message.content)


@inbox.subscribe(WAITING_SINGLE)
async def wait(message: Message) -> None:
    """A handler that waits, as one does for a model."""
    await asyncio.sleep(WAIT_SECONDS)
    await tallies[WAITING_SINGLE].add(message.content)


@inbox.subscribe(WAITING_BULK, bulk=True)
async def wait_bulk(message: Message) -> None:
    """The same, many messages a request."""
    await asyncio.sleep(WAIT_SECONDS)
    await tallies[WAITING_BULK].add(message.content)


app = inbox.asgi
