"""The stand-in for Service Bus under the real client: locks, renewal, settlement, sessions, batches."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml

from deploy.local.components import load_components
from deploy.local.system import System
from tests.support.brokers import COMPONENTS
from tests.support.eventually import eventually
from tests.support.servicebus.standing_in import stand_in
from tests.support.subscriber import Subscriber, served, write_checkout

pytestmark = [pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

# The lock is short, so that a test can outlast it.
APP_PORT = 21010
LOCK = {"lockDurationInSec": "2", "lockRenewalInSec": "1", "maxDeliveryCount": "4"}
SUBSCRIPTIONS: list[dict[str, Any]] = [
    {"pubsubname": "pubsub", "topic": "plain", "route": "/plain"},
    {"pubsubname": "pubsub", "topic": "ordered", "route": "/ordered", "metadata": {"requireSessions": "true"}},
]


def write_components(folder: Path) -> Path:
    """The shipped component with a short lock, without a policy of retries."""
    folder.mkdir(parents=True)
    pubsub, *_ = yaml.safe_load_all((COMPONENTS / "servicebus" / "pubsub.yaml").read_text())
    rows = pubsub["spec"]["metadata"]
    pubsub["spec"]["metadata"] = [
        row | {"value": LOCK[row["name"]]} if row["name"] in LOCK else row for row in rows
    ]
    (folder / "pubsub.yaml").write_text(yaml.safe_dump(pubsub))
    (folder / "secrets.yaml").write_text((COMPONENTS.parent / "shared" / "secrets.yaml").read_text())
    return folder


class Hearing:
    """A running sidecar on the stand-in, and the app behind it."""

    def __init__(self, system: System, app: Subscriber, session: aiohttp.ClientSession) -> None:
        self.system = system
        self.app = app
        self._session = session

    async def publish(self, topic: str, *values: Any, session: str = "") -> None:
        url = f"{self.system.sidecar_url('hearer')}/v1.0/publish/pubsub/{topic}"
        for value in values:
            params = {"metadata.SessionId": session} if session else {}
            async with self._session.post(url, json=value, params=params) as answer:
                assert answer.status == 204, await answer.text()

    async def heard(self, topic: str, session: str = "") -> bool:
        await self.publish(topic, f"first of {topic}", session=session)
        return self.app.times(f"first of {topic}") > 0

    async def publish_bulk(self, topic: str, *values: Any) -> None:
        url = f"{self.system.sidecar_url('hearer')}/v1.0-alpha1/publish/bulk/pubsub/{topic}"
        entries = [
            {"entryId": str(number), "event": value, "contentType": "application/json"}
            for number, value in enumerate(values)
        ]
        async with self._session.post(url, json=entries) as answer:
            assert answer.status == 204, await answer.text()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hearing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hearing]:
    folder = tmp_path_factory.mktemp("servicebus")
    components = write_components(folder / "components")
    checkout = write_checkout(folder / "checkout", {"hearer": APP_PORT}, [components])
    component = load_components([components])[0]
    server = stand_in(component, folder / "broker")
    system = System(checkout, folder / "home", with_model=False, brokers=[server])
    app = Subscriber(SUBSCRIPTIONS)
    await asyncio.to_thread(system.start)
    try:
        async with served(app.api(), APP_PORT + system.offset), aiohttp.ClientSession() as session:
            await asyncio.to_thread(system.wait_ready)
            hearing = Hearing(system, app, session)
            # What is published before the first receiver comes is lost, as it is in Azure.
            await eventually(lambda: hearing.heard("plain"), "the subscription to plain")
            await eventually(lambda: hearing.heard("ordered", "first"), "the subscription to ordered")
            yield hearing
    finally:
        await asyncio.to_thread(system.stop)


@pytest.mark.promise("AOS-21")
async def test_a_handler_that_outlasts_the_lock_gets_its_message_once(hearing: Hearing) -> None:
    hearing.app.waits["slow"] = 5
    await hearing.publish("plain", "slow", "quick")
    await eventually(lambda: hearing.app.done("slow"), "the slow handler's end")
    await hearing.publish("plain", "last")
    await eventually(lambda: hearing.app.done("last"), "a later message")
    assert [hearing.app.times(value) for value in ("slow", "quick", "last")] == [1, 1, 1]


@pytest.mark.promise("AOS-21")
async def test_what_a_handler_does_not_want_yet_is_delivered_again(hearing: Hearing) -> None:
    hearing.app.retries["flaky"] = 2
    await hearing.publish("plain", "flaky")
    await eventually(lambda: hearing.app.done("flaky"), "the third delivery")
    assert hearing.app.times("flaky") == 3


async def test_what_fails_each_time_is_delivered_as_often_as_the_subscription_says(hearing: Hearing) -> None:
    hearing.app.retries["poison"] = 100
    await hearing.publish("plain", "poison", "after")
    await eventually(lambda: hearing.app.times("poison") == 4, "the last delivery")
    await hearing.publish("plain", "later")
    await eventually(lambda: hearing.app.done("later"), "a later message")
    assert hearing.app.times("poison") == 4


async def test_a_batch_is_taken_apart(hearing: Hearing) -> None:
    values = [f"batch {number}" for number in range(50)]
    await hearing.publish_bulk("plain", *values)
    await eventually(lambda: all(map(hearing.app.done, values)), "the whole batch")
    assert [hearing.app.times(value) for value in values] == [1] * 50


async def test_messages_of_a_session_are_handled_one_after_the_other_in_order(hearing: Hearing) -> None:
    values = [f"order {number}" for number in range(6)]
    hearing.app.retries["order 2"] = 1
    hearing.app.waits["order 4"] = 4
    await hearing.publish("ordered", *values, session="orders")
    await eventually(lambda: hearing.app.done("order 5"), "the end of the session", 60)
    handled = [value for value in hearing.app.seen if str(value).startswith("order ")]
    assert handled == [*values[:3], *values[2:]]


async def test_what_a_killed_sidecar_had_is_delivered_again(hearing: Hearing) -> None:
    hearing.app.waits["cut off"] = 3
    await hearing.publish("plain", "cut off")
    await eventually(lambda: hearing.app.times("cut off") == 1, "the first delivery")
    await asyncio.to_thread(hearing.system.kill_sidecar, "hearer")
    await eventually(lambda: hearing.app.times("cut off") == 2, "the second delivery", 60)


async def test_what_waits_outlives_the_server(hearing: Hearing) -> None:
    await asyncio.to_thread(hearing.system.wait_ready)
    hearing.app.waits["kept"] = 3
    await hearing.publish("plain", "kept")
    await eventually(lambda: hearing.app.times("kept") == 1, "the first delivery")
    await asyncio.to_thread(hearing.system.kill, "servicebus")
    await eventually(lambda: hearing.app.times("kept") == 2, "the second delivery", 60)
