"""The variables that components read: what is missing, and certificates that are given as files."""

import re
import ssl
from pathlib import Path

import pytest

from deploy.local import variables
from deploy.local.brokers import order
from deploy.local.brokers.redis import server
from deploy.local.brokers.server import Site
from deploy.local.certificates import own_certificates
from deploy.local.components import Component, load_components
from deploy.local.errors import LauncherError, VariableError
from deploy.local.progress import Progress
from tests.support.watched_output import WatchedOutput

COMPONENTS = Path(__file__).resolve().parents[2] / "components"


def loaded(broker: str) -> list[Component]:
    return load_components([COMPONENTS / "shared", COMPONENTS / "pubsub" / broker])


def test_a_variable_that_is_set_nowhere_is_named_with_its_file_and_setting() -> None:
    env = {"KAFKA_BROKERS": "host:9092", "REDIS_HOST": "", "REDIS_PASSWORD": ""}
    with pytest.raises(VariableError) as refused:
        variables.require_set(loaded("kafka"), env)
    said = re.sub(r"(?m)^\S*/pubsub/", "", str(refused.value))
    assert said.splitlines() == [
        f"kafka/pubsub.yaml: {setting} is read from {variable}, which is not set: set it, or remove {setting}"
        for setting, variable in (("saslUsername", "KAFKA_USERNAME"), ("saslPassword", "KAFKA_PASSWORD"))
    ]
    variables.require_set(loaded("kafka"), {**env, "KAFKA_USERNAME": "me", "KAFKA_PASSWORD": ""})


def test_what_another_secret_store_keeps_is_not_looked_for_in_the_environment() -> None:
    variables.require_set(load_components([COMPONENTS / "pubsub" / "kafka"]), {})


@pytest.mark.parametrize(
    ("auth", "read"),
    [
        ("auth:\n  secretStore: secrets\n", {"key": "OPENAI_API_KEY"}),
        ("", {"key": "OPENAI_API_KEY"}),
        ("auth:\n  secretStore: keyvault\n", {}),
    ],
)
def test_a_reference_is_to_a_variable_where_no_other_secret_store_is_named(
    tmp_path: Path, auth: str, read: dict[str, str]
) -> None:
    text = (COMPONENTS / "llm" / "openai" / "llm.yaml").read_text()
    (tmp_path / "llm.yaml").write_text(text.replace("auth:\n  secretStore: secrets\n", auth))
    [model] = load_components([tmp_path])
    assert model.variables == read
    assert model.elsewhere == {"key"} - read.keys()
    together = [*load_components([COMPONENTS / "shared"]), model]
    if read:
        with pytest.raises(VariableError, match="key is read from OPENAI_API_KEY, which is not set"):
            variables.require_set(together, {})
    else:
        variables.require_set(together, {})


def test_a_certificate_given_as_a_file_becomes_its_text(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    env = {"MQTT_CA_CERT": "ca.crt", "MQTT_CLIENT_CERT": "-----BEGIN CERTIFICATE-----\nabc", "MQTT_CLIENT_KEY": ""}
    found = variables.certificates(loaded("mqtt-tls"), env, tmp_path)
    assert found == {"MQTT_CA_CERT": "-----BEGIN CERTIFICATE-----\n"}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("missing.crt", "has neither PEM text nor the path of a readable file: No such file"),
        ("empty.crt", r"names a file that has no PEM text: 'empty\.crt'"),
        ("x" * 5000, "has neither PEM text nor the path of a readable file"),
    ],
)
def test_what_is_neither_a_certificate_nor_a_file_of_one_is_named(tmp_path: Path, value: str, why: str) -> None:
    (tmp_path / "empty.crt").touch()
    with pytest.raises(VariableError, match=rf"MQTT_CA_CERT, which .*mqtt-tls\S* reads as caCert, {why}"):
        variables.certificates(loaded("mqtt-tls"), {"MQTT_CA_CERT": value}, tmp_path)


def test_certificates_are_made_once_for_the_owner_only_and_fit_each_other(tmp_path: Path) -> None:
    made = own_certificates(tmp_path / "tls")
    before = {path: path.read_bytes() for path in made.folder.rglob("*") if path.is_file()}
    assert made.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in before} == {0o600}
    assert list(made.trusted.iterdir()) == [made.authority]
    context = ssl.create_default_context(cafile=made.authority)
    context.load_cert_chain(made.client, made.client_key)
    assert "BEGIN PRIVATE KEY" in made.server_key.read_text()
    assert own_certificates(tmp_path / "tls") == made
    assert {path: path.read_bytes() for path in before} == before


def test_certificates_of_a_start_that_was_cut_off_are_made_anew(tmp_path: Path) -> None:
    (tmp_path / "tls.begun").mkdir()
    (tmp_path / "tls.begun" / "server.pem").touch()
    assert own_certificates(tmp_path / "tls").client_key.exists()
    assert not (tmp_path / "tls.begun").exists()


@pytest.mark.parametrize("broker", ["mqtt-tls", "rabbitmq-tls", "kafka-tls", "redis-tls"])
def test_a_component_with_a_certificate_makes_its_server_ask_for_one(broker: str) -> None:
    [component] = [one for one in loaded(broker) if one.name == "pubsub"]
    assert component.takes_certificate
    assert len(order.addresses([component])) == 1
    assert not any(one.takes_certificate for one in loaded(broker.removesuffix("-tls")))


def test_a_redis_with_tls_needs_a_component_that_shows_a_certificate(tmp_path: Path) -> None:
    with pytest.raises(LauncherError, match="give the component enableTLS and a clientCert"):
        server(Site(tmp_path, [1], "secret", {}), Progress(WatchedOutput().console()))
