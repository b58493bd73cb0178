"""Component files: no secret stands in one, and each broker has the settings without which it loses messages."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from dovecote.classes import CLASSES
from dovecote.topics import DEAD_LETTERS, inbox, read_capabilities

COMPONENTS = Path(__file__).resolve().parents[2] / "components"
PUBSUB_COMPONENTS = ("pubsub", "urgent", "news")
PUBSUB = sorted((COMPONENTS / "pubsub").iterdir())
SECRET = ("password", "key", "url", "host", "connectionstring", "brokers", "username")


def resources(folder: Path) -> list[dict[str, Any]]:
    return [one for path in sorted(folder.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text()) if one]


def settings(folder: Path, name: str = "pubsub") -> dict[str, dict[str, Any]]:
    [component] = [
        one for one in resources(folder) if (one["kind"], one["metadata"]["name"]) == ("Component", name)
    ]
    return {row["name"]: row for row in component["spec"]["metadata"]}


@pytest.mark.parametrize("folder", PUBSUB, ids=lambda folder: folder.name)
def test_every_broker_spells_the_topics_in_use(folder: Path) -> None:
    component = resources(folder)[0]
    row = read_capabilities(COMPONENTS / "capabilities.yaml", component["spec"]["type"])
    assert row.subscription(inbox("writer"), "writer").endswith(row.spell("agents/writer/inbox"))
    assert row.spell(DEAD_LETTERS) == DEAD_LETTERS


@pytest.mark.parametrize("folder", [*PUBSUB, COMPONENTS / "shared"], ids=lambda folder: folder.name)
def test_what_is_secret_or_an_address_comes_from_the_environment(folder: Path) -> None:
    for component in resources(folder):
        rows = component["spec"].get("metadata", [])
        assert not [row["name"] for row in rows if "value" in row and row["name"].lower().endswith(SECRET)]
        if any("secretKeyRef" in row for row in rows):
            assert component["auth"] == {"secretStore": "secrets"}


def test_every_setting_is_text_as_the_sidecar_wants_it() -> None:
    for folder in PUBSUB:
        for component in PUBSUB_COMPONENTS:
            for name, row in settings(folder, component).items():
                assert isinstance(row.get("value", ""), str), f"{folder.name}: quote {name}"


# What a certificate takes the place of, or brings with it; all else is as it is without TLS.
TLS = {"caCert", "clientCert", "clientKey", "enableTLS", "disableTls"}
INSTEAD = {
    "redis-tls": {"redisHost", "redisPassword"},
    "kafka-tls": {"authType", "saslUsername", "saslPassword"},
}


@pytest.mark.parametrize("folder", [one for one in PUBSUB if one.name.endswith("-tls")], ids=lambda one: one.name)
def test_with_tls_a_broker_differs_in_what_is_about_tls_only(folder: Path) -> None:
    plain = folder.with_name(folder.name.removesuffix("-tls"))
    differing = TLS | INSTEAD.get(folder.name, set())
    for secured, other in zip(resources(folder), resources(plain), strict=True):
        assert "clientCert" in {row["name"] for row in secured["spec"]["metadata"]}
        for component in (secured, other):
            rows = component["spec"]["metadata"]
            component["spec"]["metadata"] = [row for row in rows if row["name"] not in differing]
        assert secured == other


def test_mqtt_replicas_are_clients_of_their_own_that_share_a_subscription() -> None:
    row = read_capabilities(COMPONENTS / "capabilities.yaml", "pubsub.mqtt3")
    chosen = settings(COMPONENTS / "pubsub" / "mqtt")
    assert chosen["consumerID"]["value"] == "{uuid}"
    assert chosen["cleanSession"]["value"] == "true"
    assert row.subscription("agent/query/ask", "orchestrator") == "$share/orchestrator/agent/query/ask"
    assert row.spell("agent/query/ask") == "agent/query/ask"


def test_a_rabbitmq_queue_outlives_its_consumers() -> None:
    chosen = {name: row.get("value") for name, row in settings(COMPONENTS / "pubsub" / "rabbitmq").items()}
    assert chosen["durable"] == "true"
    assert chosen["deletedWhenUnused"] == "false"
    assert chosen["requeueInFailure"] == "true"
    assert chosen["deliveryMode"] == "2"


def test_a_kafka_consumer_begins_with_the_oldest_message() -> None:
    assert settings(COMPONENTS / "pubsub" / "kafka")["initialOffset"]["value"] == "oldest"


@pytest.mark.parametrize("folder", PUBSUB, ids=lambda folder: folder.name)
def test_all_components_of_a_broker_are_at_the_same_server(folder: Path) -> None:
    assert len({one["spec"]["type"] for one in resources(folder)}) == 1
    first, *others = [
        {name: row["secretKeyRef"] for name, row in settings(folder, component).items() if "secretKeyRef" in row}
        for component in PUBSUB_COMPONENTS
    ]
    assert others == [first, first]


@pytest.mark.parametrize("folder", PUBSUB, ids=lambda folder: folder.name)
def test_what_is_urgent_is_as_safe_as_the_rest_and_has_handlers_of_its_own(folder: Path) -> None:
    own = {"concurrency", "queueDepth", "prefetchCount", "maxConcurrentHandlers", "maxActiveMessages"}
    sure, urgent = (settings(folder, component) for component in ("pubsub", "urgent"))
    if "kafka" in folder.name:
        assert urgent.pop("consumerGroup")["value"] == "{appID}-urgent"
    assert {name: row for name, row in urgent.items() if name not in own} == {
        name: row for name, row in sure.items() if name not in own
    }
    assert all(int(urgent[name]["value"]) < int(sure[name]["value"]) for name in own & sure.keys())


@pytest.mark.promise("ARG-06")
def test_the_classes_of_message_have_their_qualities_of_service() -> None:
    assert {one.name: one.qos for one in CLASSES} == {
        "critical": 2,
        "tool_calls": 1,
        "responses": 1,
        "tool_registry": 1,
        "status": 0,
        "monitoring": 0,
        "logs": 0,
        "records": 1,
        "events": 1,
    }
    for component, qos in (("pubsub", "1"), ("news", "0")):
        assert settings(COMPONENTS / "pubsub" / "mqtt", component)["qos"]["value"] == qos
        assert {min(one.qos, 1) for one in CLASSES if one.component == component} == {int(qos)}


def test_what_is_news_is_not_tried_again_by_the_sidecar() -> None:
    [policy] = [row for row in resources(COMPONENTS / "shared") if row["kind"] == "Resiliency"]
    targets = policy["spec"]["targets"]["components"]
    assert "inbound" in targets["pubsub"]
    assert targets["urgent"] == targets["pubsub"]
    assert "news" not in targets
