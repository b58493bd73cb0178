"""A server that somebody else runs, given under the names that Argentic documents."""

import os
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import yaml
from dotenv import dotenv_values

from deploy.local.certificates import own_certificates
from deploy.local.errors import LauncherError, UnreachableError, VariableError
from deploy.local.system import System
from dovecote.cli import main
from tests.support.waiting import wait_until
from tests.support.whole import CHECKOUT

# The first start on a machine may have to install the server, or to build Dapr.
pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(autouse=True)
def no_server_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("MQTT_")]:
        monkeypatch.delenv(variable)


@pytest.mark.promise("ARG-15")
@pytest.mark.parametrize("broker", ["mqtt", "mqtt-tls"])
def test_a_server_that_is_given_by_the_documented_names_is_used(broker: str, tmp_path: Path) -> None:
    with System(CHECKOUT, tmp_path / "theirs", apps=[], broker=broker, with_model=False) as theirs:
        url = urlsplit(theirs.env["MQTT_URL"])
        env = {
            "MQTT_BROKER_ADDRESS": f"{url.hostname}:{url.port}",
            "MQTT_USERNAME": url.username or "",
            "MQTT_PASSWORD": url.password or "",
        }
        if broker == "mqtt-tls":
            files = own_certificates(tmp_path / "theirs" / ".dovecote" / "tls")
            env |= {
                "MQTT_CA_CERT": str(files.authority),
                "MQTT_CLIENT_CERT": str(files.client),
                "MQTT_CLIENT_KEY": str(files.client_key),
            }
        with System(
            CHECKOUT, tmp_path / "ours", apps=["recorder"], broker=broker, with_model=False, env=env
        ) as ours:
            with pytest.raises(LauncherError, match="there is no process 'mosquitto'"):
                ours.pid("mosquitto")
            _passes(ours)


@pytest.mark.promise("ARG-02", "ARG-03", "ARG-15")
def test_an_imported_messaging_file_is_what_the_system_runs_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with System(CHECKOUT, tmp_path / "theirs", apps=[], broker="mqtt-tls", with_model=False) as theirs:
        url = urlsplit(theirs.env["MQTT_URL"])
        files = own_certificates(tmp_path / "theirs" / ".dovecote" / "tls")
        messaging = {
            "protocol": "mqtt",
            "broker_address": url.hostname,
            "port": url.port,
            "username": "${MQTT_USERNAME}",
            "password": "${MQTT_PASSWORD}",
            "qos_levels": {"tool_calls": 2, "responses": 1, "status": 1, "logs": 0},
            "tls_params": {
                "ca_certs": str(files.authority),
                "certfile": "client.crt",
                "keyfile": str(files.client_key),
            },
        }
        (tmp_path / "client.crt").symlink_to(files.client)
        (tmp_path / "argentic.yaml").write_text(yaml.safe_dump({"messaging": messaging}))
        (tmp_path / ".env").write_text(f"MQTT_USERNAME={url.username}\nMQTT_PASSWORD={url.password}\n")
        monkeypatch.chdir(CHECKOUT)
        with pytest.raises(SystemExit, match="0"):
            main(["import", str(tmp_path / "argentic.yaml"), "--out", str(tmp_path / "imported")])
        env = {name: str(value) for name, value in dotenv_values(tmp_path / "imported" / ".env").items()}
        with System(
            CHECKOUT,
            tmp_path / "ours",
            apps=["recorder"],
            broker=str(tmp_path / "imported"),
            with_model=False,
            env=env,
        ) as ours:
            with pytest.raises(LauncherError, match="there is no process 'mosquitto'"):
                ours.pid("mosquitto")
            _passes(ours)


def _passes(system: System) -> None:
    letter = uuid.uuid4().hex
    address = f"{system.sidecar_url('recorder')}/v1.0/publish/pubsub/deadletters?metadata.cloudevent.id={letter}"
    httpx.post(address, json={"content": "passed"}, timeout=30).raise_for_status()
    kept = f"{system.url('recorder')}/deadletters/{letter}"
    wait_until(lambda: httpx.get(kept).is_success, "the message", 30)


@pytest.mark.promise("ARG-15")
def test_a_server_that_does_not_answer_is_named_as_it_was_given(tmp_path: Path) -> None:
    env = {"MQTT_BROKER_ADDRESS": "127.0.0.1:1"}
    with (
        pytest.raises(UnreachableError, match=r"MQTT_BROKER_ADDRESS names '127\.0\.0\.1:1', where nothing answers"),
        System(CHECKOUT, tmp_path, apps=["recorder"], broker="mqtt", with_model=False, env=env),
    ):
        pass


@pytest.mark.promise("ARG-15")
def test_a_fixed_client_id_stops_the_start_with_its_reason(tmp_path: Path) -> None:
    env = {"MQTT_CLIENT_ID": "argentic-prod-001"}
    with pytest.raises(VariableError, match="each sidecar is a client of its own"):
        System(CHECKOUT, tmp_path, apps=["recorder"], broker="mqtt", with_model=False, env=env)
