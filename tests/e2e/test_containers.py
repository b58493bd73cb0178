"""Each broker that has an image, in a container, with the shipped components under real sidecars."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from deploy.local.system import System
from tests.support import containers
from tests.support.brokers import COMPONENTS, BrokerSetup, address_variables, broker_setup
from tests.support.eventually import eventually
from tests.support.subscriber import Subscriber, served, write_checkout

# The first time on a machine the images are made.
pytestmark = [pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="module")]

BROKERS = {
    name: containers.IMAGES[address_variables(name)[0]].name
    for name in ("redis", "mqtt", "rabbitmq", "kafka", "mqtt-tls")
}
APPS = {"teller": 21010, "hearer": 21020}
TOPIC = "news-of-doves"


@dataclass
class Running:
    """Two apps with a sidecar each."""

    system: System
    hearer: Subscriber
    session: aiohttp.ClientSession
    setup: BrokerSetup

    async def heard(self, value: str) -> bool:
        """Publish a value through the one sidecar; say whether it was delivered through the other."""
        url = f"{self.system.sidecar_url('teller')}/v1.0/publish/pubsub/{TOPIC}"
        try:
            async with self.session.post(url, json=value, timeout=aiohttp.ClientTimeout(10)) as answer:
                return answer.status == 204 and self.hearer.done(value)
        except (aiohttp.ClientError, TimeoutError):
            return False  # while the broker is away


@asynccontextmanager
async def two_apps(broker: str, folder: Path) -> AsyncIterator[Running]:
    shipped = [COMPONENTS.parent / "shared", COMPONENTS / broker]
    checkout = write_checkout(folder / "checkout", APPS, shipped)
    hearer = Subscriber([{"pubsubname": "pubsub", "topic": TOPIC, "route": f"/{TOPIC}"}])
    with broker_setup(broker, folder / "broker", {TOPIC: ["hearer"]}) as setup:
        system = System(checkout, folder / "home", with_model=False, brokers=setup.brokers, env=setup.env)
        await asyncio.to_thread(system.start)
        try:
            async with (
                served(hearer.api(), APPS["hearer"] + system.offset),
                served(Subscriber().api(), APPS["teller"] + system.offset),
                aiohttp.ClientSession() as session,
            ):
                await asyncio.to_thread(system.wait_ready)
                yield Running(system, hearer, session, setup)
        finally:
            await asyncio.to_thread(system.stop)


@pytest_asyncio.fixture(
    loop_scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.container_engine(image), id=name) for name, image in BROKERS.items()
    ],
)
async def running(
    images: None, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Running]:
    for variable in address_variables(request.param):
        monkeypatch.delenv(variable, raising=False)
    async with two_apps(request.param, tmp_path) as running:
        assert running.setup.origin == f"container {BROKERS[request.param]}"
        yield running
    assert not containers.exists(container_of(running))


def container_of(running: Running) -> str:
    container = running.setup.container
    assert container is not None
    return container


async def test_an_event_is_delivered_over_a_broker_in_a_container_also_after_that_was_killed(
    running: Running,
) -> None:
    container = container_of(running)
    assert containers.exists(container)
    await eventually(lambda: running.heard("before"), "an event", 60)
    await asyncio.to_thread(containers.remove, container)
    await eventually(lambda: running.heard("after"), "an event after the broker was killed", 90)
    assert containers.exists(container)


async def test_an_event_is_delivered_over_service_bus_or_what_is_nearest_to_it_here(tmp_path: Path) -> None:
    async with two_apps("servicebus", tmp_path) as running:
        assert re.match("address given|container |stand-in of", running.setup.origin)
        await eventually(lambda: running.heard("heard"), "an event", 60)
