"""The settings of the ZeroMQ component: what the reference names is honoured, anything else is refused by name."""

import re

import pytest

from services.zeromq_pubsub.errors import SettingError
from services.zeromq_pubsub.settings import read_settings

GROUP = {"consumerID": "writer"}


@pytest.mark.promise("ARG-16")
def test_the_defaults_are_those_of_the_reference() -> None:
    settings = read_settings(GROUP)
    assert (settings.group, settings.frontend, settings.backend) == (
        "writer",
        "tcp://127.0.0.1:5555",
        "tcp://127.0.0.1:5556",
    )
    assert (settings.start_proxy, settings.proxy_mode) == (True, "embedded")
    assert (settings.high_water_mark, settings.linger, settings.connect_timeout) == (1000, 1000, 5000)
    assert settings.topic_encoding == "utf-8"


def test_an_external_broker_is_connected_to_and_not_started() -> None:
    settings = read_settings({**GROUP, "proxy_mode": "external", "broker_address": "192.168.1.100", "port": "6000"})
    assert not settings.start_proxy
    assert settings.frontend == "tcp://192.168.1.100:6000"


def test_what_the_sidecar_reads_itself_is_no_fault() -> None:
    assert read_settings({**GROUP, "publishingScopes": "writer=", "allowedTopics": "a,b"}).group == "writer"


@pytest.mark.promise("ARG-16")
@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"prot": "5555"}, "prot: there is no such setting; there are: broker_address, port, backend_port"),
        ({"port": "http"}, "port: Input should be a valid integer"),
        ({"port": "0"}, "port: Input should be greater than or equal to 1"),
        ({"backend_port": "65536"}, "backend_port: Input should be less than or equal to 65535"),
        ({"backend_port": "5555"}, "backend_port: 5555 is also port"),
        ({"high_water_mark": "0"}, "high_water_mark: "),
        ({"linger": "-1"}, "linger: "),
        ({"connect_timeout": "0"}, "connect_timeout: "),
        ({"start_proxy": "perhaps"}, "start_proxy: "),
        ({"proxy_mode": "remote"}, "proxy_mode: Input should be 'embedded' or 'external'"),
        (
            {"proxy_mode": "external", "start_proxy": "true"},
            "start_proxy: an external broker is started by whoever",
        ),
        ({"topic_encoding": "klingon"}, "topic_encoding: 'klingon' is no text encoding"),
        ({"topic_encoding": "base64"}, "topic_encoding: 'base64' is no text encoding"),
        ({"broker_address": ""}, "broker_address: "),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_by_its_name(given: dict[str, str], text: str) -> None:
    with pytest.raises(SettingError, match=re.escape(text)):
        read_settings({**GROUP, **given})


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(SettingError, match=r"port: .*; linger: .*"):
        read_settings({**GROUP, "port": "-1", "linger": "long"})
