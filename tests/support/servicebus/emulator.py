"""The official emulator of Service Bus with its SQL server, in containers.

It must be told its topics and subscriptions beforehand, takes ten connections, and keeps nothing over its own
restart: a few apps can be tried on it, and no whole fleet. Its licence is accepted by ACCEPT_EULA=Y.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from deploy.local.components import Component
from deploy.local.ports import HOST
from tests.support.containers import lacking
from tests.support.ports import free_ports
from tests.support.servicebus.standing_in import emulated

# Microsoft's page "Test locally with the Service Bus emulator" has their full names.
_EMULATOR: Final = "SERVICEBUS_EMULATOR_IMAGE"
_SQL: Final = "SERVICEBUS_EMULATOR_SQL_IMAGE"
_CONFIGURATION: Final = "/ServiceBus_Emulator/ConfigFiles/Config.json"
_AMQP: Final = 5672
_START_SECONDS: Final = 180


def unavailable(topics: Mapping[str, Sequence[str]] | None) -> str | None:
    """Why the emulator cannot be had for these topics and their subscribers; None where it can."""
    if topics is None:
        return "the emulator has too few connections for this"
    unset = [name for name in (_EMULATOR, _SQL) if not os.environ.get(name)]
    if unset:
        return f"the emulator's image is not named in {' and '.join(unset)}"
    if os.environ.get("ACCEPT_EULA") != "Y":
        return "the licence of the emulator is not accepted with ACCEPT_EULA=Y"
    return lacking(os.environ[_EMULATOR], os.environ[_SQL])


def image() -> str:
    """The name of the emulator's image, where `unavailable` says that it can be had."""
    return os.environ[_EMULATOR]


@contextmanager
def emulator(component: Component, topics: Mapping[str, Sequence[str]], folder: Path) -> Iterator[dict[str, str]]:
    """The variables by which components reach an emulator that runs with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "Config.json"
    file.write_text(json.dumps(configuration(component, topics)))
    # What the SQL server demands: each kind of character.
    licence = {"ACCEPT_EULA": "Y", "MSSQL_SA_PASSWORD": f"{secrets.token_hex(12)}-Aa1"}
    [port] = free_ports(1)
    with (
        Network() as network,
        DockerContainer(os.environ[_SQL]).with_network(network).with_network_aliases("sql").with_envs(**licence),
        DockerContainer(image())
        .with_network(network)
        .with_envs(SQL_SERVER="sql", **licence)
        .with_volume_mapping(file, _CONFIGURATION)
        .with_bind_ports(_AMQP, port)
        .waiting_for(
            LogMessageWaitStrategy("Emulator Service is Successfully Up").with_startup_timeout(_START_SECONDS)
        ),
    ):
        yield emulated(f"{HOST}:{port}")


def configuration(component: Component, topics: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The emulator's Config.json: each topic with its subscriptions, which are as the component's file says."""
    ttl: dict[str, Any] = {"DefaultMessageTimeToLive": "PT1H"}
    subscription: dict[str, Any] = {
        **ttl,
        "LockDuration": f"PT{component.settings['lockDurationInSec']}S",
        "MaxDeliveryCount": int(component.settings["maxDeliveryCount"]),
        "DeadLetteringOnMessageExpiration": False,
        "ForwardDeadLetteredMessagesTo": "",
        "ForwardTo": "",
        "RequiresSession": False,
    }
    declared = [
        {
            "Name": topic,
            "Properties": ttl | {"RequiresDuplicateDetection": False},
            "Subscriptions": [{"Name": app, "Properties": subscription} for app in apps],
        }
        for topic, apps in topics.items()
    ]
    namespace = {"Name": "sbemulatorns", "Queues": [], "Topics": declared}
    return {"UserConfig": {"Namespaces": [namespace], "Logging": {"Type": "Console"}}}
