"""Delivery modes, in memory."""

import asyncio
import itertools
import logging
from collections.abc import Callable

import pytest

from dovecote import App, DeliveryMode, Message, MessageType, Reject, once, topics
from dovecote.effects import Effects, RepeatedCallError
from dovecote.errors import UnavailableError
from dovecote.ports import State, Write
from dovecote.testing import Network
from tests.support.eventually import eventually

pytestmark = pytest.mark.promise("AOS-09")
TOPIC = "orders"


class Shop:
    """An app that keeps what it was handed, and does with it what `does` says."""

    def __init__(self) -> None:
        self.app = App("shop")
        self.handed: list[str] = []
        self.does: Callable[[Message], object] = lambda _: None
        self.waits: asyncio.Event | None = None
        self.app.bus.subscribe(TOPIC)(self.take)

    async def take(self, message: Message) -> None:
        self.handed.append(str(message.content))
        if self.waits:
            await self.waits.wait()
        self.does(message)


def _order(mode: DeliveryMode, content: str = "a", key: str | None = None, sender: str = "tests") -> Message:
    return Message(type=MessageType.EVENT, sender=sender, content=content, delivery=mode, idempotency_key=key)


def _fail(error: Exception) -> Callable[[Message], None]:
    def fail(_: Message) -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", [UnavailableError("not now"), Reject("never"), KeyError("a bug")])
async def test_at_most_once_what_fails_is_lost_and_said_so(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop()
    shop.does = _fail(error)
    async with Network([shop.app]) as net:
        with caplog.at_level(logging.WARNING):
            sent = await shop.app.bus.publish(TOPIC, "a", delivery=DeliveryMode.AT_MOST_ONCE)
            await net.bus.settled()
        assert not net.bus.events(topics.DEAD_LETTERS)
    assert shop.handed == ["a"]
    assert f"{TOPIC} {sent.id}: lost, since it is not delivered again: {type(error).__name__}" in caplog.text


async def test_at_most_once_what_was_handed_to_a_replica_that_is_killed_is_handled_by_no_other() -> None:
    shops = [Shop(), Shop()]
    for shop in shops:
        shop.waits = asyncio.Event()
    async with Network([shop.app for shop in shops]) as net:
        await net.bus.publish(TOPIC, _order(DeliveryMode.AT_MOST_ONCE))
        await eventually(lambda: any(shop.handed for shop in shops), "a handler")
        await net.stop("shop" if shops[0].handed else "shop-2")
        await net.bus.settled()
    assert sum(len(shop.handed) for shop in shops) == 1


async def test_at_most_once_what_could_not_be_begun_since_the_state_store_was_away_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop, tries = Shop(), itertools.count(1)
    async with Network([shop.app]) as net:
        state = net.state("shop")
        write = state.write

        async def fail_twice(*writes: Write) -> None:
            if next(tries) <= 2:
                raise UnavailableError("the store is away")
            await write(*writes)

        monkeypatch.setattr(state, "write", fail_twice)
        await net.bus.publish(TOPIC, _order(DeliveryMode.AT_MOST_ONCE))
        await net.bus.settled()
        assert not net.bus.events(topics.DEAD_LETTERS)
    assert shop.handed == ["a"]


@pytest.mark.parametrize(
    ("mode", "handed"),
    [(DeliveryMode.AT_MOST_ONCE, 1), (DeliveryMode.AT_LEAST_ONCE, 3), (DeliveryMode.EXACTLY_ONCE, 1)],
)
async def test_a_message_that_comes_three_times_is_handled_as_often_as_its_mode_allows(
    mode: DeliveryMode, handed: int
) -> None:
    shops, order = [Shop(), Shop()], _order(mode)
    async with Network([shop.app for shop in shops]) as net:
        for _ in range(3):
            await net.bus.publish(TOPIC, order)
        await net.bus.settled()
    assert sum(len(shop.handed) for shop in shops) == handed


async def test_exactly_once_two_messages_of_one_idempotency_key_are_handled_once() -> None:
    shop = Shop()
    async with Network([shop.app]) as net:
        for content in ("a", "again a"):
            await net.bus.publish(TOPIC, _order(DeliveryMode.EXACTLY_ONCE, content, key="order 7"))
            await net.bus.settled()
    assert shop.handed == ["a"]


async def test_exactly_once_an_idempotency_key_is_its_senders() -> None:
    shop = Shop()
    async with Network([shop.app]) as net:
        for sender in ("ann", "bob"):
            await net.bus.publish(TOPIC, _order(DeliveryMode.EXACTLY_ONCE, sender, key="order 7", sender=sender))
            await net.bus.settled()
    assert shop.handed == ["ann", "bob"]


async def test_exactly_once_what_comes_again_while_it_is_handled_elsewhere_waits_until_it_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(once, "LEASE", 0.3)
    shops, order, goes = [Shop(), Shop()], _order(DeliveryMode.EXACTLY_ONCE), asyncio.Event()
    for shop in shops:
        shop.waits = goes
    async with Network([shop.app for shop in shops]) as net:
        for _ in range(2):
            await net.bus.publish(TOPIC, order)
        key = f"delivered:{TOPIC}:{order.id}"
        await eventually(lambda: net.state("shop").values().get(key, {"beat": 0})["beat"] >= 10, "signs of life")
        goes.set()
        await net.bus.settled()
        assert not net.bus.events(topics.FAILURES)
    assert sum(len(shop.handed) for shop in shops) == 1


async def test_exactly_once_what_fails_is_tried_again_and_then_not_again() -> None:
    shop = Shop()

    def fail_twice(_: Message) -> None:
        if len(shop.handed) < 3:
            raise UnavailableError("not yet")

    shop.does = fail_twice
    order = _order(DeliveryMode.EXACTLY_ONCE)
    async with Network([shop.app]) as net:
        for _ in range(2):
            await net.bus.publish(TOPIC, order)
            await net.bus.settled()
        assert not net.bus.events(topics.DEAD_LETTERS)
    assert shop.handed == ["a"] * 3


async def test_exactly_once_what_is_refused_is_a_dead_letter() -> None:
    shop = Shop()
    shop.does = _fail(Reject("never"))
    async with Network([shop.app]) as net:
        await net.bus.publish(TOPIC, _order(DeliveryMode.EXACTLY_ONCE))
        await net.bus.settled()
        assert len(net.bus.events(topics.DEAD_LETTERS)) == 1
    assert shop.handed == ["a"]


async def test_exactly_once_what_a_killed_replica_had_begun_is_handled_by_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(once, "LEASE", 0.3)
    shops = [Shop(), Shop()]
    shops[0].waits = asyncio.Event()
    async with Network([shop.app for shop in shops]) as net:
        for number in range(2):
            await net.bus.publish(TOPIC, _order(DeliveryMode.EXACTLY_ONCE, str(number)))
        await eventually(lambda: shops[0].handed and shops[1].handed, "a message at each")
        await net.stop("shop")
        await net.bus.settled()
    assert sorted(shops[1].handed) == ["0", "1"]


class CrashError(BaseException):
    """The process ends here."""


async def _pay(state: State) -> None:
    """Pay one, once, and do not live to tell."""
    effects = Effects(state, "order 7")
    try:
        effects.put("till", int(await effects.get("till", 0)) + 1)
        await effects.settle(None, failed=False)
    except RepeatedCallError:
        return
    raise CrashError


async def test_exactly_once_an_effect_in_the_state_store_is_not_repeated_after_a_crash_behind_it() -> None:
    app = App("shop")

    @app.bus.subscribe(TOPIC)
    async def take(_: Message) -> None:
        with pytest.raises(CrashError):
            await _pay(app.running.ports.state)
        raise UnavailableError("what the broker sees of a crash")

    async with Network([app]) as net:
        await net.bus.publish(TOPIC, _order(DeliveryMode.EXACTLY_ONCE))
        await net.bus.settled()
        assert net.state("shop").values()["effect:till"]["value"] == 1
