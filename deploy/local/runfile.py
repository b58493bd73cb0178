"""The run file `dapr.yaml`: which apps run, on which ports, with which component folders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.local.errors import RunFileError

_PORT_FIELDS = ("port", "http_port", "grpc_port", "internal_grpc_port", "metrics_port")


class Shared(BaseModel):
    """Settings that a run file gives once for all apps, or for one app."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    resources_paths: tuple[str, ...] | None = Field(None, alias="resourcesPaths")
    config_file_path: str | None = Field(None, alias="configFilePath")
    protocol: str | None = Field(None, alias="appProtocol")
    log_level: str | None = Field(None, alias="logLevel")
    max_concurrency: int | None = Field(None, alias="appMaxConcurrency")
    max_body_size: str | None = Field(None, alias="maxBodySize")
    read_buffer_size: str | None = Field(None, alias="readBufferSize")
    health_check: bool | None = Field(None, alias="enableAppHealthCheck")
    health_path: str | None = Field(None, alias="appHealthCheckPath")
    health_interval: int | None = Field(None, alias="appHealthProbeInterval")
    health_timeout: int | None = Field(None, alias="appHealthProbeTimeout")
    health_threshold: int | None = Field(None, alias="appHealthThreshold")
    api_logging: bool | None = Field(None, alias="enableApiLogging")
    placement_address: str | None = Field(None, alias="placementHostAddress")
    scheduler_address: str | None = Field(None, alias="schedulerHostAddress")
    daprd_log_destination: str | None = Field(None, alias="daprdLogDestination")
    app_log_destination: str | None = Field(None, alias="appLogDestination")


class App(Shared):
    """One app of a run file; a port of 0 is filled in by `placed`."""

    app_id: str = Field(alias="appID")
    directory: str = Field(".", alias="appDirPath")
    command: tuple[str, ...]
    env: dict[str, str] = {}
    port: int = Field(0, alias="appPort")
    http_port: int = Field(0, alias="daprHTTPPort")
    grpc_port: int = Field(0, alias="daprGRPCPort")
    internal_grpc_port: int = Field(0, alias="daprInternalGRPCPort")
    metrics_port: int = Field(0, alias="metricsPort")

    @property
    def ports(self) -> tuple[int, ...]:
        """The five ports of the app and its sidecar."""
        return tuple(getattr(self, field) for field in _PORT_FIELDS)

    def shifted(self, offset: int) -> App:
        """Return the app with `offset` added to each of its ports."""
        return self.model_copy(update={field: getattr(self, field) + offset for field in _PORT_FIELDS})


class RunFile(BaseModel):
    """A multi-app run file, as `dapr run -f` reads it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1]
    name: str = ""
    common: Shared = Shared()
    apps: tuple[App, ...]

    def select(self, wanted: Sequence[str | App] | None) -> list[App]:
        """Return the wanted apps, names looked up here, each completed with the common settings and ports.

        None means every app of the file. Raises RunFileError for a name that the file does not have.
        """
        known = {app.app_id: app for app in self.apps}
        apps: list[App] = []
        for item in self.apps if wanted is None else wanted:
            if isinstance(item, str) and item not in known:
                raise RunFileError(f"dapr.yaml has no app {item!r}; it has {', '.join(sorted(known))}")
            apps.append(known[item] if isinstance(item, str) else item)
        return self._placed([self._completed(app) for app in apps])

    def _completed(self, app: App) -> App:
        update = {name: value for name, value in self.common if getattr(app, name) is None}
        return app.model_copy(update=update)

    def _placed(self, apps: list[App]) -> list[App]:
        taken = [port for app in (*self.apps, *apps) for port in app.ports]
        block = max(taken, default=0) // 10 * 10
        placed = []
        for app in apps:
            if not any(app.ports):
                block += 10
                numbers = {field: block + place for place, field in enumerate(_PORT_FIELDS)}
                placed.append(app.model_copy(update=numbers))
            else:
                placed.append(app)
        return placed


def load_run_file(path: Path) -> RunFile:
    """Read a run file; raises RunFileError that names the file, the key and the fault."""
    try:
        return RunFile.model_validate(yaml.safe_load(path.read_text()))
    except FileNotFoundError as error:
        raise RunFileError(f"{path} does not exist: start from the folder that holds dapr.yaml") from error
    except yaml.YAMLError as error:
        raise RunFileError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        faults = "; ".join(f"{_dotted(fault['loc'])}: {fault['msg']}" for fault in error.errors())
        raise RunFileError(f"{path}: {faults}") from error


def _dotted(location: Iterable[Any]) -> str:
    return ".".join(str(part) for part in location)


def component_folders(paths: Iterable[str], checkout: Path, chosen: dict[str, str | None]) -> list[Path]:
    """Return the folders of components as absolute paths, with the chosen ones put in.

    `chosen` maps a role's folder (`pubsub`, `llm`) to the name of the folder in it that is to be used instead
    of the run file's; None leaves the run file's. Raises RunFileError for a folder that is not there.
    """
    folders = []
    for path in paths:
        folder = checkout / path
        name = chosen.get(PurePath(path).parent.name)
        if name is not None:
            folder = folder.parent / name
        if not folder.is_dir():
            there = sorted(entry.name for entry in folder.parent.glob("*") if entry.is_dir())
            raise RunFileError(f"there is no {folder.name!r} in {folder.parent}; there are: {', '.join(there)}")
        folders.append(folder.resolve())
    return folders


_FLAGS = {
    "app_id": "app-id",
    "port": "app-port",
    "protocol": "app-protocol",
    "http_port": "dapr-http-port",
    "grpc_port": "dapr-grpc-port",
    "internal_grpc_port": "dapr-internal-grpc-port",
    "metrics_port": "metrics-port",
    "log_level": "log-level",
    "max_concurrency": "app-max-concurrency",
    "max_body_size": "max-body-size",
    "read_buffer_size": "read-buffer-size",
    "health_check": "enable-app-health-check",
    "health_path": "app-health-check-path",
    "health_interval": "app-health-probe-interval",
    "health_timeout": "app-health-probe-timeout",
    "health_threshold": "app-health-threshold",
    "api_logging": "enable-api-logging",
}


def sidecar_flags(app: App) -> list[str]:
    """Return the flags of daprd that the app's fields stand for, each as `--flag=value`."""
    values = {flag: getattr(app, field) for field, flag in _FLAGS.items()}
    return [
        f"--{flag}={str(value).lower() if isinstance(value, bool) else value}"
        for flag, value in values.items()
        if value is not None
    ]
