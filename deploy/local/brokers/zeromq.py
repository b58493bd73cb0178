"""The broker of the project's own ZeroMQ component."""

from __future__ import annotations

import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from deploy.local.brokers.server import Broker, Server, Site
from deploy.local.errors import MissingServerError
from deploy.local.ports import HOST
from deploy.local.progress import Progress
from deploy.local.readiness import check_probe
from deploy.local.servers import listens
from deploy.local.spawning import Program

CODE: Final = Path(__file__).resolve().parents[3]
COMMAND: Final = (sys.executable, "-m", "services.zeromq_pubsub.main")
# The broker's own settings; the others say how components reach it.
_PASSED_ON = ("high_water_mark", "linger", "topic_encoding")


def server(site: Site, _progress: Progress) -> Server:
    """Return a broker that holds as much as the component's file says."""
    if find_spec("zmq") is None:
        raise MissingServerError("ZeroMQ is not installed: pip install 'dovecote[zeromq]', or set ZEROMQ_HOST")
    port, backend, *_ = site.ports
    settings = {name: site.settings[name] for name in _PASSED_ON if name in site.settings}
    settings |= {"broker_address": HOST, "port": str(port), "backend_port": str(backend)}
    command = (*COMMAND, "broker", *(f"{name}={value}" for name, value in settings.items()))
    return Server(
        Program("zeromq", command, CODE, site.env),
        {"ZEROMQ_HOST": HOST, "ZEROMQ_PORT": str(port), "ZEROMQ_BACKEND_PORT": str(backend)},
        check_probe(partial(listens, f"{HOST}:{port}"), "does not listen"),
    )


BROKER: Final = Broker(
    "ZEROMQ_HOST",
    server,
    place="{ZEROMQ_HOST}:{ZEROMQ_PORT}",
    defaults={"ZEROMQ_PORT": "5555", "ZEROMQ_BACKEND_PORT": "5556"},
)
