"""The plan of a run: which programs, with which ports, flags and environment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.local import pluggable, servers
from deploy.local.brokers import order
from deploy.local.components import load_components
from deploy.local.errors import RunFileError
from deploy.local.ports import FIRST, HOST, WIDTH
from deploy.local.runfile import App, component_folders, sidecar_flags
from deploy.local.spawning import Program

# A handler that was started may finish: longer than any of them, shorter than a user's patience.
_DRAIN_SECONDS = 8
# One thread at a time: of requests that begin together daprd 1.18 mixes up the errors (DECISIONS.md).
ONE_THREAD: Final = {"GOMAXPROCS": "1"}
# For how long a sidecar that delivers no more still takes its app's calls.
_OUTLIVE_SECONDS = 20
_FINISH_SECONDS = 15  # of an app: twice its DOVECOTE_STOP_TIMEOUT, for requests and for activities


@dataclass(frozen=True)
class Service:
    """One app and its sidecar; the name is the app-id, from a second replica on with a number."""

    name: str
    app: App
    program: Program
    sidecar: Program

    @property
    def url(self) -> str:
        """Where the app answers."""
        return f"http://{HOST}:{self.app.port}"

    @property
    def sidecar_url(self) -> str:
        """Where the app's sidecar answers."""
        return f"http://{HOST}:{self.app.http_port}"


@dataclass(frozen=True)
class Folders:
    """Where things are: the code, the home that holds `.dovecote`, and what components are loaded."""

    checkout: Path
    home: Path
    broker: str | None = None
    llm: str | None = None
    state: str | None = None
    extra: tuple[Path, ...] = ()

    @property
    def data(self) -> Path:
        """The folder in which everything of a run is kept."""
        return self.home / ".dovecote"

    def resources(self, app: App) -> list[Path]:
        """Return the folders that the app's sidecar loads."""
        chosen = {"pubsub": self.broker, "llm": self.llm, "state": self.state}
        return [*component_folders(app.resources_paths or (), self.checkout, chosen), *self.extra]


def checked_ports(apps: Iterable[App]) -> list[int]:
    """Return the ports of apps and servers; raises RunFileError for one out of range or used twice."""
    ports = [port for app in apps for port in app.ports] + [*servers.SERVER_PORTS, *order.PORTS]
    for port, count in Counter(ports).items():
        if not FIRST < port < FIRST + WIDTH:
            raise RunFileError(f"dapr.yaml uses port {port}: choose one from {FIRST + 1} to {FIRST + WIDTH - 1}")
        if count > 1:
            raise RunFileError(
                f"port {port} is used {count} times: give each app ports of its own in dapr.yaml, none from "
                f"{servers.REDIS} to {servers.ETCD_PEER} or {order.PORTS[0]} to {order.PORTS[-1]}, "
                "which the servers have"
            )
    return ports


def services(
    apps: Sequence[App], folders: Folders, daprd: Path, offset: int, env: Mapping[str, str]
) -> list[Service]:
    """Return the services for apps whose ports are already moved by `offset`."""
    seen: Counter[str] = Counter()
    planned = []
    plugged: dict[tuple[Path, ...], bool] = {}  # most apps load the same folders
    for app in apps:
        seen[app.app_id] += 1
        name = app.app_id if seen[app.app_id] == 1 else f"{app.app_id}-{seen[app.app_id]}"
        ports = {
            "APP_ID": app.app_id,
            "APP_PORT": str(app.port),
            "DAPR_HTTP_PORT": str(app.http_port),
            "DAPR_GRPC_PORT": str(app.grpc_port),
        }
        folder = folders.checkout / app.directory
        program = Program(name, app.command, folder, {**env, **app.env, **ports}, stop_seconds=_FINISH_SECONDS)
        resources = tuple(folders.resources(app))
        if resources not in plugged:
            plugged[resources] = pluggable.is_needed(load_components(resources))
        flags = [*sidecar_flags(app), *_sidecar_paths(app, folders, resources), *_sidecar_local(app, offset)]
        sidecar_env = {**ONE_THREAD, **env}
        sidecar = Program(
            f"{name}-daprd", (str(daprd), *flags), folders.home, sidecar_env, stop_seconds=_DRAIN_SECONDS + 4
        )
        if plugged[resources]:
            sidecar = pluggable.with_component(sidecar, folders.data)
        planned.append(Service(name, app, program, sidecar))
    return planned


def _sidecar_paths(app: App, folders: Folders, resources: Iterable[Path]) -> list[str]:
    flags = [f"--resources-path={folder}" for folder in resources]
    if app.config_file_path is not None:
        flags.append(f"--config={folders.checkout / app.config_file_path}")
    return flags


def _sidecar_local(app: App, offset: int) -> list[str]:
    return [
        f"--placement-host-address={_moved(app.placement_address, offset)}",
        f"--scheduler-host-address={_moved(app.scheduler_address, offset)}",
        f"--dapr-listen-addresses={HOST}",
        f"--dapr-internal-grpc-listen-address={HOST}",
        f"--metrics-listen-address={HOST}",
        f"--dapr-graceful-shutdown-seconds={_DRAIN_SECONDS}",
        f"--dapr-block-shutdown-duration={_OUTLIVE_SECONDS}s",
    ]


def _moved(address: str | None, offset: int) -> str:
    if not address:
        return ""
    host, _, port = address.rpartition(":")
    return f"{host}:{int(port) + offset}"
