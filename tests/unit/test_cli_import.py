"""`dovecote import`: what becomes of each key of a messaging file in Argentic's format."""

import os
import re
import stat
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from dotenv import dotenv_values

from deploy.local.components import load_components
from dovecote.cli import main
from dovecote.cli.argentic import read_format
from dovecote.settings import Settings
from tests.support.checkout import changeable_checkout
from tests.support.imports import CHECKOUT, KNOWN, Importer

TLS = {
    "ca_certs": "/etc/ssl/ca.crt",
    "certfile": "client.crt",
    "keyfile": "/etc/ssl/client.key",
    "cert_reqs": "CERT_REQUIRED",
    "tls_version": "PROTOCOL_TLSv1_2",
    "ciphers": "HIGH:!aNULL:!MD5",
}
PROTOCOLS = ["mqtt", "redis", "kafka", "rabbitmq", "zeromq"]


@pytest.fixture
def importer(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Importer:
    monkeypatch.chdir(CHECKOUT)
    return Importer(tmp_path, capsys)


@pytest.mark.promise("ARG-02", "ARG-17")
@pytest.mark.parametrize(
    ("messaging", "variables"),
    [
        (
            {"protocol": "mqtt", "broker_address": "mqtt.example", "username": "me", "password": "a/b@c:%"},
            {"MQTT_URL": "mqtt://me:a%2Fb%40c%3A%25@mqtt.example:1883"},
        ),
        ({"protocol": "mqtt", "broker_address": "::1", "port": 2000}, {"MQTT_URL": "mqtt://[::1]:2000"}),
        (
            {"protocol": "redis", "broker_address": "redis.example", "password": "a'b\\c"},
            {"REDIS_HOST": "redis.example:6379", "REDIS_PASSWORD": "a'b\\c"},
        ),
        (
            {"protocol": "rabbitmq", "url": "rabbit.example", "user": "me", "password": "x", "virtualhost": "/a"},
            {"RABBITMQ_URL": "amqp://me:x@rabbit.example:5672/%2Fa"},
        ),
        (
            {"protocol": "kafka", "broker_address": "kafka.example", "username": "me", "password": "x"},
            {"KAFKA_BROKERS": "kafka.example:9092", "KAFKA_USERNAME": "me", "KAFKA_PASSWORD": "x"},
        ),
        (
            {"protocol": "zeromq", "broker_address": "192.168.1.100", "port": 6000, "backend_port": 6001},
            {"ZEROMQ_HOST": "192.168.1.100", "ZEROMQ_PORT": "6000", "ZEROMQ_BACKEND_PORT": "6001"},
        ),
    ],
)
def test_address_port_user_and_password_are_the_variables_that_the_components_read(
    importer: Importer, messaging: dict[str, Any], variables: dict[str, str]
) -> None:
    done = importer(messaging)
    assert done.variables == variables
    assert done.problems == []
    assert {outcome for outcome, _ in done.accounts.values()} == {"mapped"}
    assert set(done.pubsub.variables.values()) <= set(variables)
    assert done.values.get("messaging.password", "***") == "***"


@pytest.mark.promise("ARG-03")
@pytest.mark.parametrize(
    ("protocol", "mapped"),
    [
        ("mqtt", ["ca_certs", "certfile", "keyfile"]),
        ("redis", ["certfile", "keyfile"]),
        ("rabbitmq", ["ca_certs", "certfile", "keyfile"]),
        ("kafka", ["ca_certs", "certfile", "keyfile"]),
    ],
)
def test_files_of_tls_are_variables_and_what_cannot_be_had_says_why(
    importer: Importer, protocol: str, mapped: list[str], tmp_path: Path
) -> None:
    done = importer({"protocol": protocol, "broker_address": "b.example", "tls_params": TLS})
    assert [key for key in TLS if done.outcome(f"tls_params.{key}") == "mapped"] == mapped
    assert str(tmp_path / "client.crt") in done.variables.values(), "a path is relative to the file that names it"
    assert done.outcome("tls_params.cert_reqs") == done.outcome("tls_params.tls_version") == "as it is"
    assert done.accounts["messaging.tls_params.ciphers"] == (
        "not settable",
        "they are those of Go's TLS; limit them at the server",
    )
    assert "clientCert" in done.pubsub.variables
    assert done.problems == []


@pytest.mark.promise("ARG-03")
@pytest.mark.parametrize(
    ("protocol", "setting"),
    [("redis", "insecureSkipTLSVerify"), ("kafka", "skipVerify"), ("mqtt", ""), ("rabbitmq", "")],
)
def test_a_server_that_is_not_to_be_verified_is_so_where_the_component_can(
    importer: Importer, protocol: str, setting: str
) -> None:
    tls = {"certfile": "/c", "keyfile": "/k", "cert_reqs": "CERT_NONE", "tls_version": "PROTOCOL_TLSv1"}
    done = importer({"protocol": protocol, "broker_address": "b.example", "tls_params": tls})
    assert done.outcome("tls_params.cert_reqs") == ("mapped" if setting else "not settable")
    assert [one.settings.get(setting) for one in done.components.values()] == ["true" if setting else None] * 3
    assert "TLS 1.2 or later" in done.text("tls_params.tls_version")
    assert done.outcome("tls_params.tls_version") == "not settable"


@pytest.mark.promise("ARG-03", "ARG-16")
def test_what_zeromq_cannot_protect_is_told_and_nothing_claims_otherwise(importer: Importer) -> None:
    done = importer({"protocol": "zeromq", "broker_address": "127.0.0.1", "password": "x", "tls_params": TLS})
    for key in TLS:
        assert done.accounts[f"messaging.tls_params.{key}"][0] == "not settable"
        assert "nothing is encrypted" in done.text(f"tls_params.{key}")
    assert "whoever reaches the broker's ports" in done.text("password")


@pytest.mark.promise("ARG-16")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, {"start_proxy": "true", "proxy_mode": "embedded", "high_water_mark": "1000"}),
        ({"proxy_mode": "external"}, {"start_proxy": "false", "proxy_mode": "external"}),
        (
            {
                "start_proxy": False,
                "high_water_mark": 5,
                "linger": 6,
                "connect_timeout": 7,
                "topic_encoding": "latin-1",
            },
            {
                "start_proxy": "false",
                "high_water_mark": "5",
                "linger": "6",
                "connect_timeout": "7",
                "topic_encoding": "latin-1",
            },
        ),
    ],
)
def test_the_settings_of_zeromq_are_those_of_its_component_with_argentics_defaults(
    importer: Importer, given: dict[str, Any], said: dict[str, str]
) -> None:
    done = importer({"protocol": "zeromq", **given})
    for component in done.components.values():
        assert said.items() <= component.settings.items()
    assert done.variables == {"ZEROMQ_HOST": "127.0.0.1", "ZEROMQ_PORT": "5555", "ZEROMQ_BACKEND_PORT": "5556"}


@pytest.mark.promise("ARG-02", "ARG-04")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_a_component_cannot_be_told_says_why_and_what_it_can_is_told(
    importer: Importer, protocol: str
) -> None:
    keys = {"client_id": "argentic-agent", "keepalive": 60, "connect_retry_delay": 5, "max_reconnect_attempts": 10}
    done = importer({"protocol": protocol, "broker_address": "b.example", **keys, "clean_session": False})
    for key in (*keys, "clean_session"):
        assert done.outcome(key) in ("mapped", "not settable", "as it is"), key
        assert done.text(key)
    mapped = {key for key in keys if done.outcome(key) == "mapped"}
    assert (
        mapped
        == {
            "mqtt": set(),
            "redis": {"connect_retry_delay", "max_reconnect_attempts"},
            "kafka": {"client_id", "keepalive"},
            "rabbitmq": {"client_id", "keepalive", "connect_retry_delay"},
            "zeromq": set(),
        }[protocol]
    )
    assert done.problems == []


@pytest.mark.promise("ARG-06")
@pytest.mark.parametrize(
    ("levels", "qos"),
    [
        ({"tool_calls": 1, "responses": 1, "status": 0, "logs": 0}, {"pubsub": "1", "urgent": "1", "news": "0"}),
        ({"tool_calls": 2, "responses": 1, "status": 0, "logs": 1}, {"pubsub": "2", "urgent": "2", "news": "1"}),
    ],
)
def test_a_quality_of_service_is_that_of_the_component_of_its_class_and_the_surer_one_counts(
    importer: Importer, levels: dict[str, int], qos: dict[str, str]
) -> None:
    done = importer({"protocol": "mqtt", "broker_address": "b.example", "qos_levels": levels})
    assert {name: component.settings["qos"] for name, component in done.components.items()} == qos
    assert done.text("qos_levels.tool_calls") == f"qos of pubsub, urgent: {qos['pubsub']}"


@pytest.mark.promise("ARG-06")
def test_a_weaker_quality_than_messages_need_is_not_taken(importer: Importer) -> None:
    done = importer({"protocol": "mqtt", "broker_address": "b.example", "qos_levels": {"tool_calls": 0}})
    assert done.outcome("qos_levels.tool_calls") == "not settable"
    assert done.pubsub.settings["qos"] == "1"


@pytest.mark.parametrize("protocol", ["redis", "kafka", "rabbitmq", "zeromq"])
def test_the_same_classes_hold_on_other_brokers(importer: Importer, protocol: str) -> None:
    levels = {"tool_calls": 1, "responses": 2, "status": 0, "logs": 0}
    retained = {"status": True, "tool_registry": True, "responses": True}
    done = importer(
        {"protocol": protocol, "broker_address": "b.example", "qos_levels": levels, "retain_messages": retained}
    )
    assert [done.outcome(f"qos_levels.{key}") for key in levels] == [
        "as it is",
        "not settable",
        "as it is",
        "as it is",
    ]
    assert [done.outcome(f"retain_messages.{key}") for key in retained] == ["as it is", "as it is", "not settable"]


def _login(*variables: str) -> dict[str, str]:
    """A messaging file whose server, user and password are read from those variables."""
    keys = ("broker_address", "username", "password")
    return {"protocol": "mqtt"} | {key: f"${{{name}}}" for key, name in zip(keys, variables, strict=True)}


@pytest.mark.promise("ARG-15")
def test_variables_in_the_file_are_read_from_the_environment_and_from_the_file_beside_it(
    importer: Importer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (importer.file.parent / ".env").write_text("MQTT_BROKER_ADDRESS=mqtt.production.com\nMQTT_USERNAME=other\n")
    monkeypatch.setenv("MQTT_USERNAME", "argentic_user")
    monkeypatch.setenv("MQTT_PASSWORD", "secure_password")
    done = importer(_login("MQTT_BROKER_ADDRESS", "MQTT_USERNAME", "MQTT_PASSWORD"))
    assert done.variables == {"MQTT_URL": "mqtt://argentic_user:secure_password@mqtt.production.com:1883"}


@pytest.mark.promise("ARG-15")
def test_the_file_beside_it_comes_before_that_of_the_checkout_and_after_what_the_command_was_given(
    importer: Importer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = changeable_checkout(tmp_path / "checkout")
    (checkout / "deploy").symlink_to(CHECKOUT / "deploy")
    (checkout / ".env").write_text("PLACE=checkout\nUSER_NAME=checkout\nPASSWORD=checkout\n")
    (importer.file.parent / ".env").write_text("USER_NAME=beside\nPASSWORD=beside\n")
    monkeypatch.chdir(checkout)
    with patch.dict(os.environ, {"PASSWORD": "given"}):
        done = importer(_login("PLACE", "USER_NAME", "PASSWORD"))
    assert done.variables == {"MQTT_URL": "mqtt://beside:given@checkout:1883"}


@pytest.mark.promise("ARG-14")
def test_the_level_of_logs_and_their_topic_are_settings_of_the_apps(importer: Importer) -> None:
    done = importer(
        {"protocol": "redis", "broker_address": "b"}, logging={"level": "DEBUG", "pub_log_topic": "logs/debug"}
    )
    assert done.variables["DOVECOTE_LOG_LEVEL"] == "DEBUG"
    assert done.variables["DOVECOTE_PUB_LOG_TOPIC"] == "logs/debug"
    assert done.accounts["logging.level"] == ("mapped", "DOVECOTE_LOG_LEVEL in .env")


@pytest.mark.promise("ARG-13")
@pytest.mark.parametrize("preset", ["production", "development", "single-agent"])
def test_the_flags_of_agents_and_their_presets_are_settings_of_the_apps(importer: Importer, preset: str) -> None:
    redis = {"protocol": "redis", "broker_address": "b"}
    assert importer(redis, agent=preset).variables["DOVECOTE_AGENT_PRESET"] == preset
    importer.out.rename(importer.out.with_name("first"))
    flags = {"publish_to_supervisor": True, "publish_to_agent_topic": False, "enable_tool_result_publishing": False}
    done = importer(redis, agent={"preset": preset, **flags})
    assert done.accounts["agent.publish_to_agent_topic"] == ("mapped", "DOVECOTE_PUBLISH_TO_AGENT_TOPIC in .env")
    assert {name: done.variables[f"DOVECOTE_{name.upper()}"] == "true" for name in flags} == flags


def test_other_sections_and_keys_that_nobody_knows_are_told(importer: Importer) -> None:
    done = importer({"protocol": "redis", "broker_address": "b", "frobnicate": 3, "port": None}, llm={"model": "x"})
    assert done.accounts["messaging.frobnicate"] == ("not known", "the format has no such key")
    assert done.accounts["messaging.port"] == ("as it is", "it is empty, as if it were not there")
    assert done.accounts["llm"] == ("not read", "it is not about messaging")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("messaging: [", "is not YAML: .*line 1"),
        ("messaging: {protocol: mqtt, port: 1, port: 2}", "key 'port' is there twice"),
        ("- a", "has no section 'messaging'"),
        ("messaging: mqtt", "has no section 'messaging'"),
        (
            "messaging: {protocol: carrier-pigeon}",
            "protocol is 'carrier-pigeon', .*\nmend:  choose one of: mqtt, redis",
        ),
        ("messaging: {port: 1}", "messaging.protocol is not set"),
        ("messaging: {protocol: mqtt}", "broker_address is '': it must be a host"),
        ("messaging: {protocol: mqtt, broker_address: 'mqtt://b'}", "must be a host, without scheme and port"),
        ("messaging: {protocol: mqtt, broker_address: 'b:1883'}", "must be a host, without scheme and port"),
        ("messaging: {protocol: mqtt, broker_address: b, port: 70000}", "port is '70000': it must be a number"),
        ("messaging: {protocol: zeromq, backend_port: x}", "backend_port is 'x': it must be a number"),
        ("messaging: {protocol: mqtt, broker_address: b, password: x}", "password is set, and username is not"),
        (
            "messaging: {protocol: mqtt, broker_address: b, url: c}",
            "'messaging.url' and 'messaging.broker_address' say",
        ),
        (
            "messaging: {protocol: mqtt, broker_address: [b]}",
            r"messaging.broker_address is \['b'\], and must be a single",
        ),
        (
            "messaging: {protocol: mqtt, broker_address: '${NO_A}', port: '${NO_B}'}",
            "reads 'NO_A', messaging.port reads 'NO_B', which is set nowhere\nmend:  set it, or write it to ",
        ),
        (
            "messaging: {protocol: kafka, broker_address: b, tls_params: {ca_certs: /ca}}",
            "the start would refuse this: authType is 'none': with none nothing is encrypted",
        ),
        (
            "messaging: {protocol: redis, broker_address: b}\nlogging: {level: LOUD}",
            "logging.level is 'LOUD': Input should be 'debug'",
        ),
        ("messaging: {protocol: redis, broker_address: b, password: '${ODD}'}", "what cannot stand in a file .env"),
    ],
)
def test_a_file_that_cannot_be_imported_is_refused_with_its_fault_and_nothing_is_written(
    importer: Importer, text: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODD", "a${NO_SUCH}b")
    assert re.search(said, importer.refused(text, capsys)), said


def test_nothing_is_overwritten_unless_it_is_forced(importer: Importer, capsys: pytest.CaptureFixture[str]) -> None:
    text = "messaging: {protocol: redis, broker_address: one}"
    importer.run(text)
    (importer.out / "pubsub.yaml").unlink()
    assert main(["import", str(importer.file), "--out", str(importer.out)]) == 1
    assert f"{importer.out / '.env'} is there already" in capsys.readouterr().err
    assert not (importer.out / "pubsub.yaml").exists()
    importer.run(text.replace("one", "two"), "--force")
    assert dotenv_values(importer.out / ".env")["REDIS_HOST"] == "two:6379"


def test_what_is_written_is_for_its_owner_only(importer: Importer) -> None:
    importer.run("messaging: {protocol: redis, broker_address: b, password: secret}")
    assert {stat.S_IMODE(path.stat().st_mode) for path in importer.out.iterdir()} == {0o600}


def test_the_table_has_each_key_and_no_password_and_says_how_to_use_the_files(importer: Importer) -> None:
    said = importer.run(
        "messaging: {protocol: mqtt, broker_address: b, username: me, password: secret, keepalive: 60}"
    )
    assert "messaging.keepalive" in said
    assert "not settable" in said
    assert "secret" not in said
    assert f"To use it: cat {importer.out / '.env'} >> .env" in said


def test_every_variable_and_setting_that_a_key_may_become_is_one_of_the_templates_and_the_apps() -> None:
    known = read_format()
    for protocol in known.protocols.values():
        folders = [
            CHECKOUT / "components" / "pubsub" / name for name in (protocol.folder, protocol.tls_folder) if name
        ]
        templates = load_components(folders)
        read = {variable for component in templates for variable in component.variables.values()}
        assert set(protocol.variables) == read
        named = {setting.setting for setting in protocol.settings.values()}
        named |= {name for follow in protocol.follows for name in follow.settings}
        assert named <= KNOWN[templates[0].type].settings
    for variable in known.environment.values():
        assert variable.removeprefix("DOVECOTE_").lower() in Settings.model_fields, variable
