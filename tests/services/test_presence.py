"""Presence: who is online, and how who is not has gone; told by the directory, kept by the recorder."""

import asyncio
import importlib.util
import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio

from dovecote import Agent, App, Message, topics
from dovecote.classes import Lane
from dovecote.directory import Directory, Registration
from dovecote.errors import TooLargeError, UnavailableError
from dovecote.ports import Item
from dovecote.settings import Settings
from dovecote.testing import Network
from services.directory.main import app as directory
from services.directory.main import registry
from services.recorder.main import app as recorder
from tests.support.eventually import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.promise("MQT-04")]

ONLINE, UNGRACEFUL, CLEAN = "online", "offline - ungraceful disconnect", "offline - clean disconnect"
HEARTBEAT = 0.4
clerk = Agent("clerk", instructions="")
listener = App("listener")
heard: list[Any] = []


@listener.subscribe(topics.client_status("writer"))
async def hear(message: Message) -> None:
    """Note the state."""
    heard.append(message.content)


@pytest_asyncio.fixture(loop_scope="session")
async def net() -> AsyncIterator[Network]:
    heard.clear()
    async with Network([directory, recorder, clerk, listener], settings=Settings(heartbeat=HEARTBEAT)) as network:
        yield network


def _lease(replica: str = "1") -> Registration:
    return Registration(app_id="writer", replica=replica, kind="agent", capabilities=[], lease=HEARTBEAT * 1.5)


async def _value(app_id: str) -> Any:
    """What somebody who comes later is told."""
    value = await listener.running.values.last(topics.client_status(app_id))
    return value and value.content


def _untold(net: Network) -> Any:
    """What the directory still has to tell."""
    return net.state("directory").values()["roster"]["untold"]


async def _becomes(net: Network, app_id: str, state: str) -> None:
    async def is_so() -> bool:
        found = await Directory(net.invoke).presence(app_id)
        return found is not None and found.state == state and await _value(app_id) == state

    await eventually(is_so, f"{app_id}: {state}")


async def test_every_app_is_online_and_a_late_joiner_is_told_so(net: Network) -> None:
    for name in ("directory", "recorder", "clerk", "listener"):
        await _becomes(net, name, ONLINE)
    rows: Any = await net.invoke("directory", "presence", verb="GET")
    assert [(row["app_id"], row["kind"], len(row["replicas"])) for row in rows] == [
        ("clerk", "agent", 1),
        ("directory", "service", 1),
        ("listener", "service", 1),
        ("recorder", "service", 1),
    ]


async def test_an_app_that_stops_has_left_cleanly(net: Network) -> None:
    await net.stop("clerk")
    await _becomes(net, "clerk", CLEAN)
    await net.start("clerk")
    await _becomes(net, "clerk", ONLINE)


@pytest.mark.promise("MQT-05")
async def test_an_apps_registration_holds_for_one_and_a_half_heartbeats(net: Network) -> None:
    for name in ("directory", "recorder", "clerk", "listener"):
        await _becomes(net, name, ONLINE)
    leases = {row.app_id: row.lease for row in await Directory(net.invoke).running()}
    assert leases == dict.fromkeys(("directory", "recorder", "clerk", "listener"), pytest.approx(1.5 * HEARTBEAT))


@pytest.mark.promise("MQT-05")
async def test_an_app_that_is_silent_for_one_and_a_half_heartbeats_is_gone_ungracefully(net: Network) -> None:
    client = Directory(net.invoke)
    await client.register(_lease())
    await _becomes(net, "writer", ONLINE)
    await _becomes(net, "writer", UNGRACEFUL)
    await client.register(_lease())
    await _becomes(net, "writer", ONLINE)
    await client.leave(_lease())
    await _becomes(net, "writer", CLEAN)
    await net.bus.settled()
    assert heard == [ONLINE, UNGRACEFUL, ONLINE, CLEAN]


async def test_an_app_of_which_one_replica_is_left_is_online(net: Network) -> None:
    client = Directory(net.invoke)
    for replica in ("1", "2"):
        await client.register(_lease(replica))
    await client.leave(_lease("1"))
    await _becomes(net, "writer", ONLINE)
    await _becomes(net, "writer", UNGRACEFUL)
    assert heard == [ONLINE, UNGRACEFUL]


async def test_who_asks_for_one_app_is_told_its_replicas_and_no_others_lease_is_read(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Directory(net.invoke)
    for replica in ("2", "1"):
        await client.register(_lease(replica).model_copy(update={"lease": 60}))
    state = net.state("directory")
    get_many, read = state.get_many, list[str]()

    async def note(keys: Sequence[str]) -> dict[str, Item]:
        read.extend(keys)
        return await get_many(keys)

    monkeypatch.setattr(state, "get_many", note)
    found = await registry.presence_of("writer")
    assert found is not None
    assert [row.replica for row in found.replicas] == ["1", "2"]
    assert set(read) == {"lease:writer:1", "lease:writer:2"}


async def test_an_app_that_never_was_is_not_found(net: Network) -> None:
    assert await Directory(net.invoke).presence("nobody") is None


async def test_who_lived_while_the_directory_was_away_never_went_offline(net: Network) -> None:
    before = await Directory(net.invoke).presence("clerk")
    await net.stop("directory")
    net.clock.advance(60)
    await net.start("directory")
    await _becomes(net, "directory", ONLINE)
    told = len(net.bus.events(topics.client_status("clerk")))

    async def swept() -> bool:
        rows = await registry.running()
        return {row.app_id for row in rows} >= {"clerk", "recorder", "listener", "directory"}

    await eventually(swept, "all in the directory again")
    await registry.sweep()
    after = await Directory(net.invoke).presence("clerk")
    assert before is not None
    assert after is not None
    assert (after.state, after.since) == (ONLINE, before.since)
    assert len(net.bus.events(topics.client_status("clerk"))) == told


async def test_what_could_not_be_told_is_told_when_the_broker_is_back(net: Network) -> None:
    await _becomes(net, "clerk", ONLINE)
    net.bus.available = False
    await net.stop("clerk")
    found = await Directory(net.invoke).presence("clerk")
    assert found is not None
    assert found.state == CLEAN
    assert await _value("clerk") == ONLINE
    net.bus.available = True
    await _becomes(net, "clerk", CLEAN)


async def test_a_lease_that_lapses_while_the_broker_is_away_is_noticed(net: Network) -> None:
    client = Directory(net.invoke)
    net.bus.available = False
    await client.register(_lease())

    async def lapsed() -> bool:
        found = await client.presence("writer")
        return found is not None and found.state == UNGRACEFUL

    await eventually(lapsed, "the lapse, in the directory")
    assert heard == []
    net.bus.available = True
    await _becomes(net, "writer", UNGRACEFUL)
    await net.bus.settled()
    assert heard == [ONLINE, UNGRACEFUL]


async def test_what_cannot_be_told_for_good_is_logged_and_does_not_hold_up_the_rest(
    net: Network, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put = net.bus.put

    def refuse_some(events: list[tuple[str, Lane, bytes]]) -> None:
        if events[0][0] == topics.client_status("nobody"):
            raise TooLargeError("it is too large")
        put(events)

    monkeypatch.setattr(net.bus, "put", refuse_some)
    client = Directory(net.invoke)
    await client.register(_lease().model_copy(update={"app_id": "nobody"}))
    await client.register(_lease())
    await _becomes(net, "writer", ONLINE)
    await eventually(lambda: _untold(net) == [], "the end of what is untold")
    assert "'online' is not told on 'client_status/nobody': it is too large" in caplog.text


async def test_news_come_in_their_order_and_once_however_the_broker_fails(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, fails = net.bus.put, itertools.cycle([False, True, True])

    def fail_often(events: list[tuple[str, Lane, bytes]]) -> None:
        if events[0][0] == topics.client_status("writer") and next(fails):
            raise UnavailableError("not now")
        put(events)

    monkeypatch.setattr(net.bus, "put", fail_often)
    client = Directory(net.invoke)
    for _ in range(3):
        await client.register(_lease())
        await client.leave(_lease())
    await eventually(lambda: _untold(net) == [], "the end of what is untold")
    await net.bus.settled()
    told = [event["data"] for event in net.bus.events(topics.client_status("writer"))]
    assert told == [ONLINE, CLEAN] * 3


async def test_a_stopped_directory_has_told_that_it_left(net: Network) -> None:
    await net.stop("directory")
    await net.bus.settled()
    assert await _value("directory") == CLEAN


async def test_two_replicas_of_the_directory_tell_a_change_once() -> None:
    async with Network([directory, _second_directory(), recorder], settings=Settings(heartbeat=HEARTBEAT)) as net:
        client = Directory(net.invoke)
        await asyncio.gather(*(client.register(_lease(str(number))) for number in range(6)))

        def told() -> list[Any]:
            return [event["data"] for event in net.bus.events(topics.client_status("writer"))]

        await eventually(lambda: len(told()) == 2, "the lapse, told")
        await net.stop("directory-2")
        assert told() == [ONLINE, UNGRACEFUL]


def _second_directory() -> App:
    """Another replica of the directory, as another process would make it."""
    spec = importlib.util.find_spec("services.directory.main")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app: App = module.directory
    return app
