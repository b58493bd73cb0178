"""Each broker with TLS: a message passes, and who may not come in is refused at the start with the cause."""

import asyncio
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.local.brokers import order
from deploy.local.certificates import Certificates, own_certificates
from deploy.local.components import Component, load_components
from deploy.local.errors import LauncherError, UnreachableError
from deploy.local.system import System
from tests.support.waiting import wait_until
from tests.support.whole import CHECKOUT

# The first start on a machine may have to install the server, or to build Dapr.
pytestmark = pytest.mark.timeout(1500)

BROKERS = ("redis-tls", "mqtt-tls", "rabbitmq-tls", "kafka-tls")


def component(broker: str) -> Component:
    found = load_components([CHECKOUT / "components" / "pubsub" / broker])
    return next(one for one in found if one.name == "pubsub")


@pytest.fixture(scope="module", params=BROKERS)
def broker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def system(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(
        CHECKOUT, tmp_path_factory.mktemp(broker), apps=["recorder"], broker=broker, with_model=False
    ) as running:
        yield running


@pytest.fixture
def strangers(tmp_path: Path) -> Certificates:
    """Certificates of an authority that the server does not know."""
    return own_certificates(tmp_path / "strangers")


def door(system: System, broker: str, **changes: str) -> str:
    """What is said at a start with these settings instead; "" if nothing is."""
    reader = component(broker)
    [variable] = order.addresses([reader])
    env = {**system.env, **{reader.variables[name]: value for name, value in changes.items()}}
    try:
        asyncio.run(order.require_reachable(variable, env, reader))
    except UnreachableError as error:
        return str(error)
    return ""


@pytest.mark.promise("ARG-03")
def test_a_message_passes_over_tls(system: System, broker: str) -> None:
    letter = uuid.uuid4().hex
    published = httpx.post(
        f"{system.sidecar_url('recorder')}/v1.0/publish/pubsub/deadletters?metadata.cloudevent.id={letter}",
        json={"content": "passed"},
        timeout=30,
    )
    published.raise_for_status()
    kept = f"{system.url('recorder')}/deadletters/{letter}"
    wait_until(lambda: httpx.get(kept).is_success, f"the message over {broker}", 30)
    assert door(system, broker) == ""


@pytest.mark.promise("ARG-03")
def test_a_client_without_a_certificate_is_refused(system: System, broker: str) -> None:
    said = door(system, broker, clientCert="", clientKey="")
    assert said.endswith(f"{component(broker).variables['clientCert']} has no certificate")
    assert "which breaks the connection off" in said


def test_a_certificate_of_another_authority_is_refused(
    system: System, broker: str, strangers: Certificates
) -> None:
    others = strangers.settings()
    said = door(system, broker, clientCert=others["clientCert"], clientKey=others["clientKey"])
    assert said.endswith(f"look at the certificate in {component(broker).variables['clientCert']}")


@pytest.mark.promise("ARG-02")
@pytest.mark.parametrize("broker", ["redis-tls", "mqtt-tls", "rabbitmq-tls"], indirect=True)
def test_a_wrong_password_is_refused_and_the_start_says_so(system: System, broker: str, tmp_path: Path) -> None:
    reader = component(broker)
    [address] = order.addresses([reader])
    names = [*reader.variables.values(), "SSL_CERT_DIR"]
    env = {name: system.env[name] for name in names if name in system.env}
    # It is in the address, or in a variable of its own.
    env[address] = re.sub(r":[^:/@]+@", ":wrong@", env[address])
    env |= {name: "wrong" for name in env if name.endswith("_PASSWORD")}
    with (
        pytest.raises(LauncherError, match=r"password in the address|WRONGPASS|password not allowed"),
        System(CHECKOUT, tmp_path, apps=["recorder"], broker=broker, with_model=False, env=env),
    ):
        pass


def test_a_server_that_another_authority_vouches_for_is_not_trusted(
    system: System, broker: str, strangers: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = component(broker)
    if "caCert" in reader.variables:
        said = door(system, broker, caCert=strangers.authority.read_text())
    else:
        monkeypatch.setitem(system.env, "SSL_CERT_DIR", str(strangers.trusted))
        said = door(system, broker)
    assert f"{reader.variables.get('caCert', 'this machine')} does not vouch for" in said
