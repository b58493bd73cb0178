"""The names of another system's documents, in the place of the components' own variables."""

from pathlib import Path

import pytest

from deploy.local.brokers import order
from deploy.local.components import Component, load_components
from deploy.local.errors import VariableError

PUBSUB = Path(__file__).resolve().parents[2] / "components" / "pubsub"


def readers(broker: str) -> dict[str, Component]:
    return order.addresses(load_components([PUBSUB / broker]))


def read(broker: str, **given: str) -> dict[str, str]:
    return order.other_names(readers(broker), given)


@pytest.mark.promise("ARG-15")
@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({"MQTT_BROKER_ADDRESS": "mqtt.example"}, "mqtt://mqtt.example:1883"),
        ({"MQTT_BROKER_ADDRESS": "mqtt.example:2000"}, "mqtt://mqtt.example:2000"),
        ({"MQTT_BROKER_ADDRESS": "[::1]"}, "mqtt://[::1]:1883"),
        ({"MQTT_BROKER_ADDRESS": "mqtt.example", "MQTT_USERNAME": "me"}, "mqtt://me:@mqtt.example:1883"),
        (
            {"MQTT_BROKER_ADDRESS": "mqtt.example", "MQTT_USERNAME": "me", "MQTT_PASSWORD": "a/b@c:d%"},
            "mqtt://me:a%2Fb%40c%3Ad%25@mqtt.example:1883",
        ),
    ],
)
def test_address_user_and_password_are_read(given: dict[str, str], url: str) -> None:
    assert read("mqtt", **given) == {"MQTT_URL": url}


@pytest.mark.promise("ARG-15")
def test_with_tls_the_port_is_its_usual_one_and_a_certificate_that_is_not_named_is_none() -> None:
    assert read("mqtt-tls", MQTT_BROKER_ADDRESS="mqtt.example", MQTT_CA_CERT="ca.pem") == {
        "MQTT_URL": "mqtts://mqtt.example:8883",
        "MQTT_CLIENT_CERT": "",
        "MQTT_CLIENT_KEY": "",
    }


def test_without_an_address_nothing_is_said_and_the_rest_is_known_to_be_in_vain() -> None:
    given = {"MQTT_USERNAME": "me", "MQTT_PASSWORD": "secret"}
    assert read("mqtt", **given) == {}
    assert order.unused("MQTT_URL", readers("mqtt")["MQTT_URL"], given) == ["MQTT_PASSWORD", "MQTT_USERNAME"]


def test_another_broker_does_not_read_them() -> None:
    assert read("kafka", MQTT_BROKER_ADDRESS="mqtt.example", MQTT_CLIENT_ID="me") == {}


@pytest.mark.promise("ARG-15")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"MQTT_CLIENT_ID": "argentic-1"},
            "MQTT_CLIENT_ID is 'argentic-1', which cannot be honoured: each sidecar",
        ),
        ({"MQTT_URL": "mqtt://a", "MQTT_BROKER_ADDRESS": "b"}, "both say where the server is: unset one"),
        ({"MQTT_BROKER_ADDRESS": "b", "MQTT_PASSWORD": "secret"}, "MQTT_PASSWORD is set, and MQTT_USERNAME is not"),
        ({"MQTT_BROKER_ADDRESS": "b", "MQTT_CA_CERT": "ca.pem"}, "MQTT_CA_CERT is set, and .*BROKER=mqtt-tls"),
        (
            {"MQTT_BROKER_ADDRESS": "mqtt://b"},
            "MQTT_BROKER_ADDRESS has 'mqtt://b': it must be a host, or host:port",
        ),
        ({"MQTT_BROKER_ADDRESS": "b:port"}, "it must be a host, or host:port"),
        ({"MQTT_BROKER_ADDRESS": "me@b"}, "it must be a host, or host:port"),
        ({"MQTT_BROKER_ADDRESS": ""}, "it must be a host, or host:port"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_its_reason(given: dict[str, str], said: str) -> None:
    with pytest.raises(VariableError, match=said):
        read("mqtt", **given)
