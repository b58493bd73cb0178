"""Where the broker of a test comes from.

Its address is given by the environment; else its server is a program of this machine; else it is installed first,
where that is allowed. The launcher takes the same order, so that for most brokers only the origin is left to say.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.brokers import debian, order
from deploy.local.brokers.server import installed_program
from deploy.local.components import load_components
from deploy.local.spawning import Program
from tests.support.whole import CHECKOUT

# The program without which there is no server, by the variable that holds the server's address. Those that are not
# here come with the project's dependencies.
_PROGRAMS = {"MQTT_URL": "mosquitto", "RABBITMQ_URL": "rabbitmq-server", "KAFKA_BROKERS": "java"}


class BrokerNotRunError(Exception):
    """A broker cannot be had here; its text is the reason."""


@dataclass(frozen=True)
class BrokerSetup:
    """What a system on a broker is started with: `env` and `programs` are arguments of `System`.

    `origin` says in a few words how the server was come by.
    """

    origin: str
    env: Mapping[str, str] = field(default_factory=dict)
    programs: Sequence[Program] = ()


@contextmanager
def broker_setup(name: str, folder: Path) -> Iterator[BrokerSetup]:
    """What a system with `broker=name`, a folder of components/pubsub, needs while the block runs.

    What is started for it keeps its data in `folder`. Raises BrokerNotRunError where the broker cannot be had.
    """
    variables = address_variables(name)
    given = [variable for variable in variables if variable in os.environ]
    if given:
        yield BrokerSetup(f"address given by {', '.join(given)}")
        return
    yield BrokerSetup(_own_origin(variables))


def address_variables(name: str) -> list[str]:
    """The variables in which the components of a broker look for its address."""
    components = load_components([CHECKOUT / "components" / "pubsub" / name])
    if not components:
        raise BrokerNotRunError(f"components/pubsub/{name} defines no component")
    known = [*order.addresses(components)]
    return known or ["REDIS_HOST"]


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
