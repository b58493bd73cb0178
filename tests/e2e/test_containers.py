"""Each broker that has an image, in a container, with the shipped components under real sidecars."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from deploy.local.progress import Progress
from deploy.local.system import System
from tests.support import containers
from tests.support.brokers import COMPONENTS, address_variables, broker_setup
from tests.support.engine import engine
from tests.support.eventually import eventually
from tests.support.images.debian import usable_engine
from tests.support.subscriber import Subscriber, served, write_checkout

# The first time on a machine the images are made.
pytestmark = [pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="module")]

BROKERS = ["redis", "mqtt", "rabbitmq", "kafka", "mqtt-tls"]
APPS = {"teller": 21010, "hearer": 21020}
TOPIC = "news-of-doves"


@dataclass
class Running:
    """Two apps with a sidecar each."""

    system: System
    hearer: Subscriber
    session: aiohttp.ClientSession
    origin: str

    async def heard(self, value: str) -> bool:
        """Publish a value through the one sidecar; say whether it was delivered through the other."""
        url = f"{self.system.sidecar_url('teller')}/v1.0/publish/pubsub/{TOPIC}"
        async with self.session.post(url, json=value) as answer:
            return answer.status == 204 and self.hearer.done(value)


@pytest.fixture(scope="module")
def images() -> Iterator[None]:
    with usable_engine(Progress()):
        yield


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
                yield Running(system, hearer, session, setup.origin)
        finally:
            await asyncio.to_thread(system.stop)


@pytest_asyncio.fixture(loop_scope="module", params=BROKERS)
async def running(
    images: None, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Running]:
    for variable in address_variables(request.param):
        monkeypatch.delenv(variable, raising=False)
    async with two_apps(request.param, tmp_path) as running:
        yield running
    assert names() == []


def names() -> list[str]:
    """The containers that tests have started."""
    with engine() as found:
        everyone = [container.name for container in found.containers.list(all=True)]
    return [name for name in everyone if name.startswith("dovecote-")]


@pytest.mark.container_engine
async def test_an_event_is_delivered_over_a_broker_in_a_container_also_after_that_was_killed(
    running: Running,
) -> None:
    image = running.origin.removeprefix("container ")
    assert image in {known.name for known in containers.IMAGES.values()}
    [container] = names()
    await eventually(lambda: running.heard("before"), "an event", 60)
    await asyncio.to_thread(containers.remove, container)
    await eventually(lambda: running.heard("after"), "an event after the broker was killed", 90)
    assert names() == [container]


async def test_an_event_is_delivered_over_service_bus_or_what_is_nearest_to_it_here(tmp_path: Path) -> None:
    async with two_apps("servicebus", tmp_path) as running:
        assert re.match("address given|container |stand-in of", running.origin)
        await eventually(lambda: running.heard("heard"), "an event", 60)
