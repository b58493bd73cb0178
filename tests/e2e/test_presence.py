"""Presence and retained values on real brokers, one with retain and one without."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from deploy.local.brokers.server import find_program
from deploy.local.progress import Progress
from deploy.local.system import System
from tests.support.waiting import wait_until
from tests.support.whole import CHECKOUT

pytestmark = [pytest.mark.timeout(300), pytest.mark.promise("MQT-04", "ARG-07")]

ONLINE, UNGRACEFUL, CLEAN = "online", "offline - ungraceful disconnect", "offline - clean disconnect"
APPS = ["directory", "recorder", "calculator"]
TOPIC = "client_status/calculator"


class Watch:
    """A small system whose dead stay dead, and what is said there of an app."""

    def __init__(self, system: System) -> None:
        self.system = system
        self._client = httpx.Client(timeout=10, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def state(self, app: str = "calculator") -> str:
        """What the directory says."""
        answer = self._client.get(f"{self.system.url('directory')}/presence/{app}")
        return str(answer.json().get("state"))

    def value(self, topic: str = TOPIC) -> Any:
        """The last value of a topic, as an app that comes later asks for it: through its own sidecar."""
        sidecar = self.system.sidecar_url("calculator")
        answer = self._client.get(f"{sidecar}/v1.0/invoke/recorder/method/values/{topic}")
        return answer.json() if answer.status_code == 200 else None

    def becomes(self, state: str, seconds: float = 20) -> None:
        def is_so() -> bool:
            value = self.value()
            return self.state() == state and value is not None and value["content"] == state

        wait_until(is_so, f"calculator: {state}", seconds)


@pytest.fixture(scope="module", params=["redis", "mqtt"])
def watch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    home = tmp_path_factory.mktemp(request.param)
    env = {"DOVECOTE_HEARTBEAT": "1"}
    system = System(CHECKOUT, home, apps=APPS, broker=request.param, env=env, with_model=False, restart=False)
    with system, closing(Watch(system)) as running:
        yield running


def retained(system: System, topics: str, count: int) -> dict[str, Any]:
    """The first so many messages that the broker's own client gets as it subscribes, by topic."""
    program = find_program("mosquitto_sub", ["mosquitto-clients"], "install it", Progress())
    address = urlsplit(system.env["MQTT_URL"])
    command = [program, "-h", address.hostname, "-p", address.port, "-u", address.username, "-P", address.password]
    command += ["-t", topics, "-v", "-C", count, "-W", 20]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    return {topic: json.loads(event)["data"] for topic, event in lines}


@pytest.mark.parametrize(("end", "state"), [(System.kill, UNGRACEFUL), (System.halt, CLEAN)], ids=["kill", "halt"])
def test_an_app_that_has_ended_is_gone_as_it_went_and_online_again_after_its_start(
    watch: Watch, end: Callable[[System, str], None], state: str
) -> None:
    watch.becomes(ONLINE)
    end(watch.system, "calculator")
    watch.becomes(state)
    watch.system.resume("calculator")
    watch.becomes(ONLINE)


def test_an_app_that_is_frozen_longer_than_its_lease_is_gone_until_it_is_heard_again(watch: Watch) -> None:
    watch.becomes(ONLINE)
    pid = watch.system.pid("calculator")
    subprocess.run(["kill", "-STOP", str(pid)], check=True)
    try:
        watch.becomes(UNGRACEFUL)
    finally:
        subprocess.run(["kill", "-CONT", str(pid)], check=True)
    watch.becomes(ONLINE)


def test_a_late_joiner_learns_what_a_tool_offers(watch: Watch) -> None:
    watch.becomes(ONLINE)
    value = watch.value("tools/calculator/register")
    assert value["sender"] == "directory"
    assert [one["name"] for one in value["content"]["functions"]] == ["evaluate"]


def test_a_killed_directory_knows_after_its_start_who_was_online(watch: Watch) -> None:
    watch.becomes(ONLINE)
    before = watch.value()
    watch.system.kill("directory")
    watch.system.resume("directory")
    watch.system.wait_ready()
    watch.becomes(ONLINE)
    assert watch.value() == before


@pytest.mark.parametrize("watch", ["mqtt"], indirect=True)
def test_a_broker_that_retains_tells_a_late_subscriber_itself(watch: Watch) -> None:
    watch.becomes(ONLINE)
    assert retained(watch.system, "client_status/+", 3) == {f"client_status/{app}": ONLINE for app in APPS}
    watch.system.halt("calculator")
    watch.becomes(CLEAN)
    assert retained(watch.system, TOPIC, 1) == {TOPIC: CLEAN}
    watch.system.resume("calculator")
    watch.becomes(ONLINE)
