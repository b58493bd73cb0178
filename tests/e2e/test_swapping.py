"""The broker is swapped by editing the active component file, while questions are being answered."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from deploy.local.brokers import mosquitto
from deploy.local.brokers.server import Server, Site
from deploy.local.progress import Progress
from tests.support.in_flight import slow_model
from tests.support.ports import free_ports
from tests.support.waiting import wait_until
from tests.support.whole import CHECKOUT, Whole, whole

pytestmark = pytest.mark.timeout(1500)

QUESTIONS = 8


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A run file and components of this test's own, to edit."""
    folder = tmp_path / "checkout"
    shutil.copytree(CHECKOUT / "components", folder / "components")
    shutil.copy(CHECKOUT / "dapr.yaml", folder)
    (folder / ".venv").symlink_to(CHECKOUT / ".venv")
    return folder


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """The broker to change over to."""
    folder = tmp_path / "mqtt"
    folder.mkdir()
    return mosquitto.server(Site(folder, free_ports(1), "secret", {}), Progress())


@pytest.fixture
def system(checkout: Path, server: Server, tmp_path: Path) -> Iterator[Whole]:
    env = {"DOVECOTE_RESEND_AFTER": "2"}
    with whole(tmp_path / "home", env, checkout=checkout, brokers=[server]) as running:
        yield running


def brokers(system: Whole) -> set[str]:
    """The types of the component `pubsub` that the sidecars have now."""
    found: set[str] = set()
    for app in system.system.apps:
        loaded = httpx.get(f"{system.system.sidecar_url(app)}/v1.0/metadata", trust_env=False).json()["components"]
        found |= {component["type"] for component in loaded if component["name"] == "pubsub"} or {"none"}
    return found


@pytest.mark.promise("ARG-01")
def test_editing_the_active_component_file_changes_the_broker_under_way(
    system: Whole, checkout: Path, documents: Path
) -> None:
    assert brokers(system) == {"pubsub.redis"}
    account = slow_model(system)
    with ThreadPoolExecutor(QUESTIONS) as pool:
        answers = [pool.submit(system.ask, f"Question {number}?", documents, 120) for number in range(QUESTIONS)]
        wait_until(lambda: len(system.model.calls()) >= 3, "questions are being answered")
        components = checkout / "components" / "pubsub"
        shutil.copy(components / "mqtt" / "pubsub.yaml", components / "redis" / "pubsub.yaml")
        results = [answer.result() for answer in answers]
    assert [(result["status"], result["error"]) for result in results] == [("completed", None)] * QUESTIONS
    assert system.balance(account) == QUESTIONS
    wait_until(lambda: brokers(system) == {"pubsub.mqtt3"}, "the other broker at each sidecar", 60)
    later = system.ask("And now?", docs=documents)
    assert later["status"] == "completed"
