"""Which broker a run needs a server for, and where that comes from.

A component names what it reads from the environment. Where one of those variables is a broker's address, the broker
is: at the given address; else a server of the run's own, from a program on this machine; else from one that is
installed first.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from deploy.local import servers
from deploy.local.brokers import kafka, mosquitto, rabbitmq, redis, servicebus, zeromq
from deploy.local.brokers.greeting import require_welcome
from deploy.local.brokers.server import Broker, Server, Site
from deploy.local.certificates import own_certificates
from deploy.local.components import Component
from deploy.local.ports import FIRST
from deploy.local.progress import Progress

_BROKERS: dict[str, Broker] = {
    module.BROKER.variable: module.BROKER for module in (mosquitto, rabbitmq, kafka, zeromq, servicebus, redis)
}
_PORTS_EACH = 3
# What an address has around `host:port`: a scheme, a login, a path, or the other parts of a connection string.
_SURROUNDINGS = re.compile(r"^(.*\bEndpoint=)?\w+://(.*@)?|[/;].*$")
PORTS = tuple(range(FIRST + 180, FIRST + 180 + _PORTS_EACH * len(_BROKERS)))


def addresses(components: Iterable[Component]) -> dict[str, Component]:
    """Return the variables that hold a broker's address, each with the first component that reads it."""
    return {
        variable: component
        for component in reversed(list(components))
        for variable in component.variables.values()
        if variable in _BROKERS
    }


def other_names(readers: Mapping[str, Component], given: Mapping[str, str]) -> dict[str, str]:
    """Return what the readers' variables are, by what is given under the names of other systems' documents.

    `readers` are components by the variable that holds their server's address. Raises VariableError for what cannot
    be honoured, or contradicts itself.
    """
    found: dict[str, str] = {}
    for variable, component in readers.items():
        names = _BROKERS[variable].other_names
        if names is not None:
            found |= names.read(component, given)
    return found


def address_names(variable: str) -> list[str]:
    """Return the variables by which the address in `variable` may be given: itself, and other systems' names."""
    names = _BROKERS[variable].other_names
    return [variable, names.address] if names is not None else [variable]


def unused(variable: str, component: Component, given: Mapping[str, str]) -> list[str]:
    """Return the variables that are given in vain where a component's server is one of the run's own."""
    names = _BROKERS[variable].other_names
    others = names.others if names is not None else ()
    return sorted(given.keys() & {*component.variables.values(), *others})


def ports_of(variable: str, offset: int) -> Sequence[int]:
    """Return the ports of the launcher's own server whose address is in the variable, moved by `offset`."""
    first = list(_BROKERS).index(variable) * _PORTS_EACH
    return [port + offset for port in PORTS[first : first + _PORTS_EACH]]


def own_server(  # noqa: PLR0913 - what decides where it is and what it is told
    variable: str,
    component: Component,
    data: Path,
    *,
    ports: Sequence[int],
    env: Mapping[str, str],
    progress: Progress,
    programs: Sequence[str] = (),
) -> Server:
    """Return a server for a component that reads its address from the variable; its data is kept below `data`.

    It consists of `programs`, where they are given, and else of what is on this machine or can be installed.
    Raises MissingServerError that names the mend where it is neither.
    """
    folder = data / variable.lower().rpartition("_")[0]
    folder.mkdir(exist_ok=True)
    certificates = own_certificates(data / "tls") if component.takes_certificate else None
    password = servers.kept_password(folder / "password")
    site = Site(folder, ports, password, env, component.settings, certificates, programs)
    told = certificates.settings() if certificates is not None else {}
    variables = {component.variables[name]: text for name, text in told.items() if name in component.variables}
    found = _BROKERS[variable].server(site, progress)
    return replace(found, variables={**variables, **found.variables})


def defaults(variable: str) -> Mapping[str, str]:
    """Return what components read beside the address, where somebody else's broker is used and nothing is said."""
    return _BROKERS[variable].defaults


async def require_reachable(variable: str, env: Mapping[str, str], component: Component | None = None) -> None:
    """Raise UnreachableError, naming the variable, unless the server at each place that it names answers.

    `component` is the one that reads the variable; its server is asked, where that can be, whether it takes us.
    """
    broker = _BROKERS[variable]
    name = broker.named_in(env)
    address = broker.place.format_map(env) if broker.place else env[variable]
    places = [_SURROUNDINGS.sub("", place) for place in address.split(",")]
    if broker.default_port is not None:
        places = [place if ":" in place else f"{place}:{broker.default_port}" for place in places]
    await asyncio.gather(*(servers.require_reachable(name, place) for place in places))
    if broker.greeting is not None and component is not None:
        for place in address.split(","):
            parts = urlsplit(place if "://" in place else f"//{place}")
            await require_welcome(name, parts, broker.greeting, component, env)
