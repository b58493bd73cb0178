"""Settings that a component does not know or cannot honour are refused with the reason."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local import settings
from deploy.local.components import Component, load_components
from deploy.local.errors import RunFileError, SettingError
from deploy.local.settings import Known, Problem

COMPONENTS = Path(__file__).resolve().parents[2] / "components"
FOLDERS = {
    "pubsub.redis": "redis",
    "pubsub.mqtt3": "mqtt",
    "pubsub.rabbitmq": "rabbitmq",
    "pubsub.kafka": "kafka",
    "pubsub.azure.servicebus.topics": "servicebus",
    "pubsub.zeromq": "zeromq",
}
# What the reference's documents on MQTT and the others name, and no component of Dapr knows.
REFERENCE = (
    "client_id",
    "keepalive",
    "tls_params",
    "connect_retry_delay",
    "max_reconnect_attempts",
    "clean_session",
)


@pytest.fixture(scope="module")
def known() -> dict[str, Known]:
    return settings.read_known(COMPONENTS / "settings.yaml")


def component(broker: str, name: str = "pubsub", **changes: str | None) -> Component:
    """The component of a folder with other settings; None takes one away."""
    [found] = [one for one in load_components([COMPONENTS / "pubsub" / broker]) if one.name == name]
    values = {**found.settings, **changes}
    kept = {setting: value for setting, value in values.items() if value is not None}
    read = {setting: variable for setting, variable in found.variables.items() if setting not in changes}
    return Component(found.path, found.name, found.type, kept, read)


def found(one: Component, known: dict[str, Known], **env: str) -> list[str]:
    return [problem.text for problem in settings.problems([one], known, env)]


def test_every_type_that_has_capabilities_says_what_it_can_be_told(known: dict[str, Known]) -> None:
    brokers = {kind for kind in known if kind.startswith("pubsub.")}
    assert brokers == set(yaml.safe_load((COMPONENTS / "capabilities.yaml").read_text())) == set(FOLDERS)


def test_what_is_refused_is_nothing_that_the_component_knows(known: dict[str, Known]) -> None:
    for kind, row in known.items():
        assert row.settings.isdisjoint(row.refused), kind
        assert {rule.setting for rule in row.rules} <= row.settings, kind


@pytest.mark.parametrize("folder", sorted(path.name for path in (COMPONENTS / "pubsub").iterdir()))
def test_the_components_that_come_with_dovecote_are_as_they_must_be(folder: str, known: dict[str, Known]) -> None:
    assert list(settings.problems(load_components([COMPONENTS / "pubsub" / folder]), known, {})) == []


@pytest.mark.promise("ARG-02", "ARG-04", "ARG-17")
@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize("name", REFERENCE)
def test_a_setting_of_the_reference_that_has_no_counterpart_is_refused_with_the_reason(
    kind: str, name: str, known: dict[str, Known]
) -> None:
    [text] = found(component(FOLDERS[kind], **{name: "1"}), known)
    assert text == f"{kind} has no setting {name!r}: {known[kind].refused[name]}"


@pytest.mark.promise("ARG-03")
@pytest.mark.parametrize("name", ["ciphers", "tls_version", "cert_reqs"])
@pytest.mark.parametrize("folder", ["mqtt-tls", "redis-tls", "rabbitmq-tls", "kafka-tls"])
def test_what_go_decides_about_tls_is_refused_with_the_reason(
    folder: str, name: str, known: dict[str, Known]
) -> None:
    [text] = found(component(folder, **{name: "CERT_OPTIONAL"}), known)
    assert f"has no setting {name!r}: " in text


def test_a_misspelt_setting_is_told_with_the_one_that_was_meant(known: dict[str, Known]) -> None:
    assert found(component("redis", processingTimeOut="40s"), known) == [
        "pubsub.redis has no setting 'processingTimeOut', and would ignore it: did you mean 'processingTimeout'?"
    ]
    [text] = found(component("mqtt", zzz="1"), known)
    assert text.endswith("would ignore it: it has " + ", ".join(sorted(known["pubsub.mqtt3"].settings)))


@pytest.mark.parametrize(
    ("broker", "changes", "said"),
    [
        ("redis", {"redeliverInterval": "5s"}, "redeliverInterval is '5s': it is a number of milliseconds"),
        ("redis", {"redeliverInterval": "0"}, "redeliverInterval is '0': with 0, what a killed"),
        ("redis", {"processingTimeout": "0s"}, "processingTimeout is '0s': with 0, what a killed"),
        ("redis-tls", {"enableTLS": None}, "enableTLS is not set, which means 'false': without TLS no"),
        ("mqtt", {"cleanSession": "false"}, "cleanSession is 'false': a kept session swallows"),
        ("mqtt", {"cleanSession": None}, "cleanSession is not set, which means 'false': a kept session"),
        ("mqtt", {"consumerID": "argentic-agent"}, "consumerID is 'argentic-agent': it is the client's id"),
        ("mqtt", {"retain": "yes"}, "retain is 'yes': every message would be retained"),
        ("mqtt", {"qos": "0"}, "qos is '0': with 0, what is under way"),
        ("mqtt", {"qos": "2"}, "qos is '2': the second handshake is in vain"),
        ("rabbitmq", {"deletedWhenUnused": None}, "deletedWhenUnused is not set, which means 'true': the queue"),
        ("rabbitmq", {"deliveryMode": "1"}, "deliveryMode is '1': messages would be in memory"),
        ("rabbitmq", {"requeueInFailure": "off"}, "requeueInFailure is 'off': what a stopping sidecar"),
        ("rabbitmq", {"enableDeadLetter": "true"}, "enableDeadLetter is 'true': the sidecar's own"),
        ("rabbitmq", {"concurrency": "single"}, "pubsub.rabbitmq has no setting 'concurrency': write concurrencyM"),
        ("kafka", {"initialOffset": "newest"}, "initialOffset is 'newest': what was sent before"),
        ("kafka", {"initialOffset": None}, "initialOffset is not set, which means 'newest': what"),
        ("kafka", {"saslMechanism": "SCRAM-SHA-512"}, "saslMechanism is 'SCRAM-SHA-512': everything else"),
        ("kafka", {"disableTls": "true", "caCert": "PEM"}, "disableTls is 'true': nothing would be encrypted"),
    ],
)
def test_a_value_that_loses_messages_or_is_ignored_is_told_with_the_reason(
    broker: str, changes: dict[str, Any], said: str, known: dict[str, Known]
) -> None:
    [text] = found(component(broker, **changes), known)
    assert text.startswith(said)


def test_a_certificate_that_the_address_makes_useless_is_told_and_the_address_is_not(
    known: dict[str, Known],
) -> None:
    one = component("mqtt-tls")
    env = {"MQTT_CA_CERT": "PEM", "MQTT_CLIENT_CERT": ""}
    [text] = found(one, known, MQTT_URL="mqtt://me:secret@host:1883", **env)
    assert text.startswith("url, which is read from MQTT_URL, does not do: without mqtts:// nothing is encrypted")
    assert "secret" not in text
    assert found(one, known, MQTT_URL="mqtts://me:secret@host:8883", **env) == []


@pytest.mark.parametrize("folder", ["state/sqlserver", "pubsub/rabbitmq-tls"])
def test_a_value_that_may_hold_a_password_is_not_told(folder: str, known: dict[str, Known]) -> None:
    one = load_components([COMPONENTS / folder])[0]
    spelled = {**one.settings, "connectionString": "Server=a;Password=hunter2", "caCert": "PEM"}
    [text] = [said for said in found(replace(one, settings=spelled, variables={}), known) if "does not do" in said]
    assert text.startswith("connectionString, which is not shown here, does not do: without ")
    assert "hunter2" not in text


def test_a_value_that_another_secret_store_has_is_not_judged(tmp_path: Path, known: dict[str, Known]) -> None:
    text = (COMPONENTS / "pubsub" / "kafka" / "pubsub.yaml").read_text()
    kept = text.replace("value: oldest", "secretKeyRef: {name: offset, key: offset}")
    (tmp_path / "pubsub.yaml").write_text(kept.replace("secretStore: secrets", "secretStore: keyvault"))
    one = load_components([tmp_path])[0]
    assert "initialOffset" in one.elsewhere
    assert found(one, known) == []
    unknown = replace(one, elsewhere=one.elsewhere | {"keepalive"})
    assert [said.partition(":")[0] for said in found(unknown, known)] == ["pubsub.kafka has no setting 'keepalive'"]


def test_what_holds_for_messages_that_must_arrive_does_not_for_news(known: dict[str, Known]) -> None:
    assert found(component("mqtt", "news", qos="0"), known) == []
    assert found(component("kafka", "news", initialOffset="newest"), known) == []
    assert found(component("redis", "news", redeliverInterval="5s"), known) != []


def test_a_start_is_refused_with_every_reason_and_what_is_only_told_does_not_stop_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.require_honoured([component("mqtt", qos="2")], {})
    assert "mqtt/pubsub.yaml: qos is '2'" in caplog.text
    with pytest.raises(SettingError, match=r"(?s)mqtt/pubsub\.yaml: .*'keepalive'.*kafka/pubsub\.yaml: initialOff"):
        settings.require_honoured([component("mqtt", keepalive="60"), component("kafka", initialOffset=None)], {})


def test_a_type_that_nothing_is_known_of_is_left_alone(known: dict[str, Known]) -> None:
    one = Component(Path("pigeon.yaml"), "pubsub", "pubsub.pigeon", {"wings": "2"}, {})
    assert list(settings.problems([one], known, {})) == []
    assert str(Problem(one.path, "it flies")) == "pigeon.yaml: it flies"


@pytest.mark.parametrize(
    "text", ["", "[", "pubsub.a: {}", "all: []\npubsub.a: {settings: [], rules: [{setting: b}]}"]
)
def test_a_file_of_settings_that_does_not_fit_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.yaml"
    with pytest.raises(RunFileError, match=r"settings\.yaml cannot be read"):
        settings.read_known(path)
    path.write_text(text)
    with pytest.raises(RunFileError, match=r"settings\.yaml does not say what components can be told"):
        settings.read_known(path)
