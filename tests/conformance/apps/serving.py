"""A receiver as a process of its own: its name and port, and where the logbook is, come from the environment."""

import os

import aiohttp

from tests.conformance.apps.receiver import receiver
from tests.conformance.logbook import Entry, Order

_LOGBOOK = os.environ["CONFORMANCE_LOGBOOK"]


async def _write(entry: Entry) -> Order:
    # A handler may be kept waiting for long.
    limit = aiohttp.ClientTimeout(total=300)
    async with (
        aiohttp.ClientSession(timeout=limit) as session,
        session.post(_LOGBOOK, data=entry.model_dump_json()) as answer,
    ):
        return Order.model_validate_json(await answer.read())


app = receiver(os.environ["APP_ID"], os.environ["APP_PORT"], _write).asgi
