"""Where a test's broker comes from, said truthfully."""

import json
from pathlib import Path

import pytest

from deploy.local.brokers import debian
from tests.support import brokers
from tests.support.brokers import BrokerNotRunError, broker_setup

ADDRESSES = [
    "MQTT_URL",
    "MQTT_BROKER_ADDRESS",
    "RABBITMQ_URL",
    "KAFKA_BROKERS",
    "REDIS_HOST",
    "SERVICEBUS_CONNECTION_STRING",
]


@pytest.fixture(autouse=True)
def no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.containers.lacking", lambda *_: "no engine answers")
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


def test_a_namespace_in_azure_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SERVICEBUS_CONNECTION_STRING", "Endpoint=sb://doves.servicebus.windows.net/")
    with broker_setup("servicebus", tmp_path) as setup:
        assert setup.origin == "address given by SERVICEBUS_CONNECTION_STRING"


def test_what_stands_in_for_a_namespace_says_why_it_is_neither_that_nor_the_emulator(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tests.support.servicebus.standing_in.interpreter", lambda _: Path("python"))
    with broker_setup("servicebus", tmp_path) as setup:
        assert setup.origin == (
            "stand-in of tests/support/servicebus, since SERVICEBUS_CONNECTION_STRING is not set and "
            "the emulator has too few connections for this"
        )
        assert [server.program.name for server in setup.brokers] == ["servicebus"]


def test_a_server_given_under_a_documented_name_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MQTT_BROKER_ADDRESS", "somewhere")
    with broker_setup("mqtt", tmp_path) as setup:
        assert setup.origin == "address given by MQTT_BROKER_ADDRESS"


@pytest.mark.parametrize(
    ("name", "image", "program"),
    [
        ("redis", "redis:7", ["redis-server"]),
        ("mqtt", "eclipse-mosquitto:2", ["mosquitto"]),
        ("mqtt-tls", "eclipse-mosquitto:2", ["mosquitto"]),
        ("rabbitmq", "rabbitmq:3", ["/bin/sh"]),
        ("kafka", "apache/kafka:4.1.1", ["/bin/sh"]),
    ],
)
def test_an_image_that_an_engine_has_comes_before_what_is_here(
    name: str, image: str, program: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lacking(monkeypatch, may_install=False)
    removed: list[str] = []
    monkeypatch.setattr("tests.support.containers.lacking", lambda *_: None)
    monkeypatch.setattr("tests.support.containers.remove", removed.append)
    with broker_setup(name, tmp_path) as setup:
        assert setup.origin == f"container {image}"
        [server] = setup.brokers
        told = json.loads(server.program.command[-1])
        assert told["image"] == image
        assert told["command"][:1] == program
        assert removed == []
    assert removed == [told["name"]]
