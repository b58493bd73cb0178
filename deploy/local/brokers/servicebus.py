"""Azure Service Bus, which runs in Azure only."""

from __future__ import annotations

from typing import Final

from deploy.local.brokers.server import Broker, Server, Site
from deploy.local.errors import MissingServerError
from deploy.local.progress import Progress

_VARIABLE: Final = "SERVICEBUS_CONNECTION_STRING"


def server(_site: Site, _progress: Progress) -> Server:
    """Raise MissingServerError: there is no server to start."""
    raise MissingServerError(
        f"{_VARIABLE} is not set, and no server of Azure Service Bus can be started on this machine: set it to the "
        "connection string of a namespace (Azure portal: Shared access policies), or choose another broker"
    )


BROKER: Final = Broker(
    _VARIABLE,
    server,
    default_port=5671,
    defaults={"SERVICEBUS_DISABLE_ENTITY_MANAGEMENT": "false"},
)
