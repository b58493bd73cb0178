"""What the server of a broker is to the launcher."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.brokers import debian
from deploy.local.brokers.greeting import Greeting
from deploy.local.certificates import Certificates
from deploy.local.components import Component
from deploy.local.errors import MissingServerError
from deploy.local.progress import Progress
from deploy.local.readiness import Probe
from deploy.local.spawning import Program

USER = "dovecote"
# Where servers are installed, which the PATH of somebody who is not root may lack.
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/opt/homebrew/sbin")


@dataclass(frozen=True)
class Site:
    """Where a server is to run: a folder of its own, ports that are free, a password, the environment.

    `settings` are those of the component that reads the server's address. Where there are `certificates`, the
    server is to take TLS only, and clients that show one only. `programs` are what the server consists of, where
    that is not to be found on this machine but is known, as in the image of a container.
    """

    folder: Path
    ports: Sequence[int]
    password: str
    env: Mapping[str, str]
    settings: Mapping[str, str] = field(default_factory=dict)
    certificates: Certificates | None = None
    programs: Sequence[str] = ()


@dataclass(frozen=True)
class Server:
    """A server to start: the program, the variables by which components reach it, and when it is ready."""

    program: Program
    variables: Mapping[str, str]
    probe: Probe


@dataclass(frozen=True)
class OtherNames:
    """Variables under which another system's documents give a server's address, beside the components' own.

    `address` is the one without which the `others` say nothing. `read` makes the components' variables of those in
    an environment, for a component; it raises VariableError for what cannot be honoured.
    """

    address: str
    others: Sequence[str]
    read: Callable[[Component, Mapping[str, str]], Mapping[str, str]]


@dataclass(frozen=True)
class Broker:
    """A broker that the launcher can start, and how one is reached that somebody else has started.

    Its address is in `variable`. `place` is what must listen there, with variables in braces (default: the address
    itself), `default_port` the port where the address may leave it out, and `defaults` are for variables that need
    not be given beside the address. With `greeting`, a server is asked whether it takes us. `other_names` are
    read as well.
    """

    variable: str
    server: Callable[[Site, Progress], Server]
    place: str = ""
    default_port: int | None = None
    defaults: Mapping[str, str] = field(default_factory=dict)
    greeting: Greeting | None = None
    other_names: OtherNames | None = None

    def named_in(self, env: Mapping[str, str]) -> str:
        """Return the variable by which the environment gives the address, for messages."""
        names = self.other_names
        return names.address if names is not None and names.address in env else self.variable


def find_program(name: str, packages: Sequence[str], mend: str, progress: Progress) -> Path:
    """Return where a program lies, installed as Debian packages if need be and possible.

    Raises MissingServerError, with `mend`, where it is neither there nor to be had.
    """
    found = installed_program(name)
    if found is None and debian.can_install():
        debian.install(packages, progress)
        found = installed_program(name)
    if found is None:
        raise MissingServerError(f"{name} is not on this machine: {mend}")
    return found


def installed_program(name: str) -> Path | None:
    """Return where a program lies on this machine, or None."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS])
    found = shutil.which(name, path=path)
    return Path(found) if found else None
