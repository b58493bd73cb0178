"""What is seen at the tap of an app."""

import asyncio

import httpx
import pytest
from fastapi import FastAPI

from dovecote import App, Message, MessageType
from dovecote.errors import NotFoundError
from dovecote.tap import Sighting, Tap, TappedBus, Watcher
from dovecote.testing import MemoryBus, Network

pytestmark = pytest.mark.promise("ARG-12")


def event(text: str) -> Message:
    return Message(type=MessageType.EVENT, sender="ann", content=text)


async def next_of(watcher: Watcher, count: int) -> list[Sighting]:
    found: list[Sighting] = []
    async with asyncio.timeout(5):
        async for sighting in watcher:
            found.append(sighting)
            if len(found) == count:
                break
    return found


async def test_what_is_sent_and_what_is_handed_over_is_seen_where_it_fits() -> None:
    ann, ben = App("ann"), App("ben")

    @ben.subscribe("news/weather")
    async def hear(_: Message) -> None:
        pass

    async with Network([ann, ben]) as net:
        bus = ann.running.ports.bus
        await bus.publish("news/weather", event("before"))
        await net.bus.settled()
        with ann.tap.watched(["news/#"]) as sent, ben.tap.watched(["+/weather"]) as taken:
            message = event("rain")
            await bus.publish("other/weather", event("not listened to"))
            await bus.publish("news/weather", message)
            await bus.publish_batch("news/sport", [event("one"), event("two")])
            await bus.publish_content("news/bare", {"a": 1})
            await net.bus.publish_event("news/weather", {"plain": True})
            seen = await next_of(sent, 4)
            heard = await next_of(taken, 2)
    assert [(one.topic, one.sent, one.message.content) for one in seen] == [
        ("news/weather", True, "rain"),
        ("news/sport", True, "one"),
        ("news/sport", True, "two"),
        ("news/bare", True, {"a": 1}),
    ]
    assert [(one.topic, one.sent, one.message.content) for one in heard] == [
        ("news/weather", False, "rain"),
        ("news/weather", False, {"plain": True}),
    ]
    assert heard[0].message == message


async def test_what_the_broker_did_not_take_is_not_seen() -> None:
    ann = App("ann")
    async with Network([ann]) as net:
        with ann.tap.watched(["#"]) as watcher:
            net.bus.available = False
            with pytest.raises(Exception, match="not available"):
                await ann.running.ports.bus.publish("a/b", event("lost"))
            net.bus.available = True
            await ann.running.ports.bus.publish("a/b", event("taken"))
            (seen,) = await next_of(watcher, 1)
    assert seen.message.content == "taken"


async def test_who_reads_too_slowly_holds_up_nobody_and_is_told_how_much_was_missed() -> None:
    ann = App("ann")
    async with Network([ann]):
        with ann.tap.watched(["#"]) as watcher:
            await ann.running.ports.bus.publish_batch("a/b", [event(str(number)) for number in range(1007)])
            seen = await next_of(watcher, 1000)
            await ann.running.ports.bus.publish("a/b", event("after the gap"))
            (after,) = await next_of(watcher, 1)
    assert [one.missed for one in seen] == [0] * 1000
    assert seen[-1].message.content == "999"
    assert (after.message.content, after.missed) == ("after the gap", 7)


async def test_an_app_that_ends_sends_away_who_looks_on() -> None:
    ann = App("ann")
    async with Network([ann]):
        with ann.tap.watched(["#"]) as watcher:
            await ann.running.ports.bus.publish("a/b", event("last"))
            ann.tap.end()
            async with asyncio.timeout(5):
                seen = [sighting async for sighting in watcher]
    assert [one.message.content for one in seen] == ["last"]


@pytest.mark.parametrize(
    ("headers", "query", "status", "said"),
    [
        ({"dapr-caller-app-id": "spy"}, "", 404, "the tap is not for other apps"),
        ({}, "?topic=agent/%23/ask", 422, "is no pattern of topics"),
    ],
)
async def test_another_app_and_a_wrong_pattern_are_refused(
    headers: dict[str, str], query: str, status: int, said: str
) -> None:
    ann = App("ann")
    async with Network([ann]) as net, net.http("ann") as client:
        answer = await client.get(f"/tap{query}", headers=headers)
    assert answer.status_code == status
    assert said in answer.json()["detail"]


async def test_another_machine_is_refused() -> None:
    api = FastAPI()
    api.include_router(Tap().router())
    transport = httpx.ASGITransport(api, client=("192.0.2.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://ann") as client:
        with pytest.raises(NotFoundError, match="other machines"):
            await client.get("/tap")


async def test_content_that_is_no_message_is_published_all_the_same() -> None:
    tap, bus = Tap(), MemoryBus()
    with tap.watched(["#"]):
        await TappedBus(bus, tap).publish_content("news/bare", {"specversion": "1.0", "id": 7})
    assert bus.events("news/bare")
