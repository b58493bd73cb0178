"""Where the broker of a test comes from.

Its address is given by the environment; else a container engine has its image; else its server is a program of this
machine; else it is installed first, where that is allowed. The launcher's order is the same without containers, so
that for those only the origin is left to say. Service Bus has no server: after its address comes the official
emulator in a container, then the stand-in.
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
from tests.support.servicebus import emulator
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

    `origin` says in a few words how the server was come by, `container` is the name of the one that it runs in, if
    it does: that outlives the process which the launcher has started, when that is killed.
    """

    origin: str
    env: Mapping[str, str] = field(default_factory=dict)
    brokers: Sequence[Server] = ()
    container: str | None = None


@contextmanager
def broker_setup(
    name: str, folder: Path, topics: Mapping[str, Sequence[str]] | None = None
) -> Iterator[BrokerSetup]:
    """What a system with `broker=name`, a folder of components/pubsub, needs while the block runs.

    What is started for it keeps its data in `folder`. `topics` are all that will be used, each with the apps that
    subscribe to it, for a server that must be told beforehand. Raises BrokerNotRunError where there is none.
    """
    readers = _readers(name)
    variables = [*readers] or _STATE_STORES
    given = [variable for variable in address_variables(name) if variable in os.environ]
    if given:
        yield BrokerSetup(f"address given by {', '.join(given)}")
    elif variables[0] in containers.IMAGES and containers.lacking(containers.IMAGES[variables[0]].name) is None:
        with containers.contained(variables[0], readers.get(variables[0]), folder) as (server, container):
            origin = f"container {containers.IMAGES[variables[0]].name}"
            yield BrokerSetup(origin, brokers=[server], container=container)
    elif _SERVICE_BUS in readers:
        with _service_bus(readers[_SERVICE_BUS], folder, topics) as setup:
            yield setup
    else:
        yield BrokerSetup(_own_origin(variables))


@contextmanager
def _service_bus(
    component: Component, folder: Path, topics: Mapping[str, Sequence[str]] | None
) -> Iterator[BrokerSetup]:
    reason = emulator.unavailable(topics)
    if reason is None and topics is not None:
        with emulator.emulator(component, topics, folder) as env:
            yield BrokerSetup(f"container {emulator.image()}", env)
        return
    try:
        server = stand_in(component, folder)
    except MissingServerError as error:
        raise BrokerNotRunError(str(error)) from error
    yield BrokerSetup(
        f"stand-in of tests/support/servicebus, since {_SERVICE_BUS} is not set and {reason}", brokers=[server]
    )


def address_variables(name: str) -> list[str]:
    """The variables by which the address of a broker may be given."""
    return [known for variable in _readers(name) for known in order.address_names(variable)] or _STATE_STORES


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
