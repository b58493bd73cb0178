"""Where the broker of a test comes from.

Its address is given by the environment; else, for MQTT, a container engine has its image; else its server is a
program of this machine; else it is installed first, where that is allowed. The launcher's order is the same without
containers, so that for most brokers only the origin is left to say.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.brokers import debian, order
from deploy.local.brokers.server import Server, installed_program
from deploy.local.components import Component, load_components
from deploy.local.errors import MissingServerError
from tests.support import containers
from tests.support.servicebus.standing_in import stand_in
from tests.support.whole import CHECKOUT

COMPONENTS = CHECKOUT / "components" / "pubsub"
_SERVICE_BUS = "SERVICEBUS_CONNECTION_STRING"
# A broker that is no server of its own is the one of the state store.
_STATE_STORES = ["REDIS_HOST"]

# The program without which there is no server, by the variable that holds the server's address. Those that are not
# here come with the project's dependencies.
_PROGRAMS = {"MQTT_URL": "mosquitto", "RABBITMQ_URL": "rabbitmq-server", "KAFKA_BROKERS": "java"}


class BrokerNotRunError(Exception):
    """A broker cannot be had here; its text is the reason."""


@dataclass(frozen=True)
class BrokerSetup:
    """What a system on a broker is started with: `env` and `brokers` are arguments of `System`.

    `origin` says in a few words how the server was come by.
    """

    origin: str
    env: Mapping[str, str] = field(default_factory=dict)
    brokers: Sequence[Server] = ()


@contextmanager
def broker_setup(name: str, folder: Path) -> Iterator[BrokerSetup]:
    """What a system with `broker=name`, a folder of components/pubsub, needs while the block runs.

    What is started for it keeps its data in `folder`. Raises BrokerNotRunError where the broker cannot be had.
    """
    readers = _readers(name)
    variables = [*readers] or _STATE_STORES
    given = [variable for variable in variables if variable in os.environ]
    if given:
        yield BrokerSetup(f"address given by {', '.join(given)}")
    elif name == "mqtt" and containers.has_image(containers.MOSQUITTO):
        with containers.mosquitto(folder, containers.MOSQUITTO) as server:
            yield BrokerSetup(f"container {containers.MOSQUITTO}", brokers=[server])
    elif _SERVICE_BUS in readers:
        yield _service_bus(readers[_SERVICE_BUS], folder)
    else:
        yield BrokerSetup(_own_origin(variables))


def _service_bus(component: Component, folder: Path) -> BrokerSetup:
    try:
        return BrokerSetup("stand-in of tests/support/servicebus", brokers=[stand_in(component, folder)])
    except MissingServerError as error:
        raise BrokerNotRunError(str(error)) from error


def address_variables(name: str) -> list[str]:
    """The variables in which the components of a broker look for its address."""
    return [*_readers(name)] or _STATE_STORES


def _readers(name: str) -> dict[str, Component]:
    components = load_components([COMPONENTS / name])
    if not components:
        raise BrokerNotRunError(f"components/pubsub/{name} defines no component")
    return order.addresses(components)


def _own_origin(variables: Sequence[str]) -> str:
    needed = [_PROGRAMS[variable] for variable in variables if variable in _PROGRAMS]
    missing = [program for program in needed if installed_program(program) is None]
    if not needed:
        return "comes with the project"
    if not missing:
        return "binary of this machine"
    if debian.can_install():
        return f"installed: {', '.join(missing)}"
    raise BrokerNotRunError(f"{', '.join(missing)} is not on this machine, and this user may not install it")
