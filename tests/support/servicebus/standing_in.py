"""The stand-in as a server that the launcher starts."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from deploy.local.brokers.server import Server
from deploy.local.components import Component
from deploy.local.ports import HOST
from deploy.local.progress import Progress
from deploy.local.readiness import check_probe
from deploy.local.servers import listens
from deploy.local.spawning import Program
from tests.support.ports import free_ports
from tests.support.servicebus.environment import interpreter

_CHECKOUT = Path(__file__).resolve().parents[3]
_FILE = "namespace.db"


def stand_in(component: Component, folder: Path) -> Server:
    """Return the stand-in, empty, its data in the folder, with what the component's file asks of a subscription.

    Raises MissingServerError where its library cannot be built.
    """
    python = interpreter(Progress())
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in folder.glob(f"{_FILE}*"):
        earlier.unlink()
    [port] = free_ports(1)
    address = f"{HOST}:{port}"
    command = (
        str(python),
        "-m",
        "tests.support.servicebus",
        address,
        str(folder / _FILE),
        f"--lock-seconds={component.settings['lockDurationInSec']}",
        f"--max-deliveries={component.settings['maxDeliveryCount']}",
    )
    return Server(
        Program("servicebus", command, _CHECKOUT, {}),
        emulated(address),
        check_probe(partial(listens, address), "does not listen"),
    )


def emulated(address: str) -> dict[str, str]:
    """Return the variables by which a component reaches an emulator: no TLS, no interface of management."""
    key = "SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=local;UseDevelopmentEmulator=true"
    return {
        "SERVICEBUS_CONNECTION_STRING": f"Endpoint=sb://{address};{key}",
        "SERVICEBUS_DISABLE_ENTITY_MANAGEMENT": "true",
    }
