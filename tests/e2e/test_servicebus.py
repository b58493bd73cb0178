"""The stand-in for Service Bus under the real client: locks, renewal, settlement, sessions, batches."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml
from aiohttp import web

from deploy.local.components import load_components
from deploy.local.ports import HOST
from deploy.local.system import System
from tests.support.brokers import COMPONENTS
from tests.support.eventually import eventually
from tests.support.servicebus.standing_in import stand_in

pytestmark = [pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

# The lock is short, so that a test can outlast it.
APP_PORT = 21010
LOCK = {"lockDurationInSec": "2", "lockRenewalInSec": "1", "maxDeliveryCount": "4"}
SUBSCRIPTIONS = [
    {"pubsubname": "pubsub", "topic": "plain", "route": "/plain"},
    {"pubsubname": "pubsub", "topic": "ordered", "route": "/ordered", "metadata": {"requireSessions": "true"}},
]


class Subscriber:
    """An app that notes what it is delivered, and waits or asks for it again as a test says."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self._done: set[Any] = set()
        self.waits: dict[Any, float] = {}
        self.retries: dict[Any, int] = {}

    def api(self) -> web.Application:
        api = web.Application()
        api.router.add_get("/dapr/subscribe", self._subscriptions)
        api.router.add_get("/{probe:healthz|readyz}", self._ready)
        api.router.add_post("/{topic:plain|ordered}", self._take)
        return api

    def done(self, value: Any) -> bool:
        return value in self._done

    def times(self, value: Any) -> int:
        return self.seen.count(value)

    async def _subscriptions(self, _: web.Request) -> web.Response:
        return web.json_response(SUBSCRIPTIONS)

    async def _ready(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _take(self, request: web.Request) -> web.Response:
        value = (await request.json())["data"]
        self.seen.append(value)
        await asyncio.sleep(self.waits.get(value, 0))
        if self.retries.get(value, 0) > 0:
            self.retries[value] -= 1
            return web.json_response({"status": "RETRY"})
        self._done.add(value)
        return web.json_response({"status": "SUCCESS"})


def write_checkout(folder: Path) -> Path:
    """A run file with one app, and the shipped component with a short lock, without a policy of retries."""
    components = folder / "components"
    components.mkdir(parents=True)
    pubsub, *_ = yaml.safe_load_all((COMPONENTS / "servicebus" / "pubsub.yaml").read_text())
    rows = pubsub["spec"]["metadata"]
    pubsub["spec"]["metadata"] = [
        row | {"value": LOCK[row["name"]]} if row["name"] in LOCK else row for row in rows
    ]
    (components / "pubsub.yaml").write_text(yaml.safe_dump(pubsub))
    (components / "secrets.yaml").write_text((COMPONENTS.parent / "shared" / "secrets.yaml").read_text())
    ports = ("appPort", "daprHTTPPort", "daprGRPCPort", "daprInternalGRPCPort", "metricsPort")
    app = {
        "appID": "hearer",
        "appDirPath": ".",
        "command": ["sleep", "infinity"],
        "resourcesPaths": [str(components)],
        **{name: APP_PORT + number for number, name in enumerate(ports)},
    }
    (folder / "dapr.yaml").write_text(yaml.safe_dump({"version": 1, "apps": [app]}))
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


@asynccontextmanager
async def served(api: web.Application, port: int) -> AsyncIterator[None]:
    runner = web.AppRunner(api)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    try:
        yield
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hearing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hearing]:
    folder = tmp_path_factory.mktemp("servicebus")
    checkout = write_checkout(folder / "checkout")
    component = load_components([checkout / "components"])[0]
    server = stand_in(component, folder / "broker")
    system = System(checkout, folder / "home", with_model=False, brokers=[server])
    app = Subscriber()
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


async def test_a_handler_that_outlasts_the_lock_gets_its_message_once(hearing: Hearing) -> None:
    hearing.app.waits["slow"] = 5
    await hearing.publish("plain", "slow", "quick")
    await eventually(lambda: hearing.app.done("slow"), "the slow handler's end")
    await hearing.publish("plain", "last")
    await eventually(lambda: hearing.app.done("last"), "a later message")
    assert [hearing.app.times(value) for value in ("slow", "quick", "last")] == [1, 1, 1]


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
