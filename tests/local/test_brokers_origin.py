"""Where a test's broker comes from, said truthfully."""

from pathlib import Path

import pytest

from deploy.local.brokers import debian
from tests.support import brokers
from tests.support.brokers import BrokerNotRunError, broker_setup


@pytest.fixture(autouse=True)
def no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.containers.has_image", lambda _: False)
    for variable in ("MQTT_URL", "KAFKA_BROKERS", "REDIS_HOST", "ZEROMQ_HOST"):
        monkeypatch.delenv(variable, raising=False)


def lacking(monkeypatch: pytest.MonkeyPatch, *, may_install: bool) -> None:
    monkeypatch.setattr(brokers, "installed_program", lambda _: None)
    monkeypatch.setattr(debian, "can_install", lambda: may_install)


def test_a_given_address_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MQTT_URL", "mqtt://somewhere:1883")
    with broker_setup("mqtt", tmp_path) as setup:
        assert setup.origin == "address given by MQTT_URL"


def test_a_server_that_is_here_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(brokers, "installed_program", Path)
    with broker_setup("kafka", tmp_path) as setup:
        assert setup.origin == "binary of this machine"


def test_a_server_that_is_not_here_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lacking(monkeypatch, may_install=True)
    with broker_setup("mqtt", tmp_path) as setup:
        assert setup.origin == "installed: mosquitto"


def test_a_server_that_cannot_be_had_is_not_run_and_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lacking(monkeypatch, may_install=False)
    with pytest.raises(BrokerNotRunError, match="mosquitto is not on this machine"), broker_setup("mqtt", tmp_path):
        pass


def test_what_comes_with_the_project_needs_no_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lacking(monkeypatch, may_install=False)
    for name in ("redis", "zeromq"):
        with broker_setup(name, tmp_path) as setup:
            assert setup.origin == "comes with the project"


def test_a_broker_without_components_is_not_run(tmp_path: Path) -> None:
    with (
        pytest.raises(BrokerNotRunError, match="components/pubsub/carrier-pigeon"),
        broker_setup("carrier-pigeon", tmp_path),
    ):
        pass
