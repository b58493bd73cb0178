"""The end of deliveries, before an app closes its port."""

import asyncio

import httpx
from fastapi import FastAPI
from pydantic import JsonValue

from dovecote import App, Message
from dovecote.dapr.inbound import Inbound
from dovecote.delivery import Status
from dovecote.ports import Subscription
from dovecote.topics import Capabilities


class Held:
    """A consumer whose deliveries last until they are let go."""

    def __init__(self) -> None:
        self.come = asyncio.Event()
        self.go = asyncio.Event()

    async def deliver(self, _: Subscription, __: JsonValue) -> Status:
        self.come.set()
        await self.go.wait()
        return "SUCCESS"


async def _capabilities() -> Capabilities:
    raise AssertionError("nobody asks for subscriptions")


def _inbound(held: Held) -> tuple[Inbound, httpx.AsyncClient]:
    app, api = App("consumer"), FastAPI()

    @app.subscribe("some/topic")
    async def handle(_: Message) -> None:
        raise AssertionError("the consumer takes all")

    inbound = Inbound(api, app, held, _capabilities)
    return inbound, httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://consumer")


async def test_the_end_waits_for_the_deliveries_under_way() -> None:
    held = Held()
    inbound, client = _inbound(held)
    delivery = asyncio.create_task(client.post("/deliveries/0", json={}))
    await held.come.wait()
    ending = asyncio.create_task(inbound.quiet(20))
    done, _ = await asyncio.wait([ending], timeout=0.5)
    assert not done
    held.go.set()
    await ending
    assert (await delivery).json() == {"status": "SUCCESS"}


async def test_the_end_waits_no_longer_than_it_may() -> None:
    held = Held()
    inbound, client = _inbound(held)
    delivery = asyncio.create_task(client.post("/deliveries/0", json={}))
    await held.come.wait()
    async with asyncio.timeout(10):
        await inbound.quiet(0.1)
    assert not delivery.done()
    held.go.set()
    await delivery
