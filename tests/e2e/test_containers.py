"""A broker in a container, from an image that is made here of a program of this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.brokers.server import find_program
from deploy.local.progress import Progress
from tests.support import containers
from tests.support.brokers import BrokerSetup, broker_setup
from tests.support.machine_image import make_image
from tests.support.whole import whole

pytestmark = [pytest.mark.container_engine, pytest.mark.timeout(300)]

IMAGE = "dovecote-tests/mosquitto:2"


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BrokerSetup]:
    monkeypatch.delenv("MQTT_URL", raising=False)
    monkeypatch.setattr(containers, "MOSQUITTO", IMAGE)
    program = find_program("mosquitto", ["mosquitto"], "install it", Progress())
    make_image(IMAGE, program, "-c", "/mosquitto/config/mosquitto.conf")
    with broker_setup("mqtt", tmp_path / "broker") as made:
        yield made


def names() -> list[str]:
    with containers.engine() as engine:
        return [container.name for container in engine.containers.list(all=True)]


def test_the_main_job_over_a_broker_in_a_container_that_is_killed_once(
    setup: BrokerSetup, tmp_path: Path, documents: Path
) -> None:
    assert setup.origin == f"container {IMAGE}"
    container = setup.brokers[0].program.command[3]
    env = {"DOVECOTE_RESEND_AFTER": "3", **setup.env}
    with whole(tmp_path / "home", env, "mqtt", brokers=setup.brokers) as system:
        assert container in names()
        for _ in range(2):
            result = system.ask("How much oil does the northern lamp burn a night?", documents, 120)
            assert result["status"] == "completed", result["error"]
            assert "14 litres" in result["answer"]["text"]
            containers.remove(container)
        system.system.wait_ready()
    assert container not in names()
