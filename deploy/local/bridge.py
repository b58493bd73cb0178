"""Moves what waits on one broker to another, for every app of the run file.

In the place of each app, with a sidecar on both brokers, runs a process that takes the app's messages on the old
one and publishes them on the new one (`python -m dovecote.serve --bridge MODULE`). The system may run meanwhile.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from deploy.local.brokers import order
from deploy.local.components import load_components
from deploy.local.errors import LauncherError, RunFileError
from deploy.local.progress import Progress
from deploy.local.runfile import App, component_folders, load_run_file
from deploy.local.system import System

_SERVE = ("-m", "dovecote.serve")
_LOOK_SECONDS = 0.2
_DEFAULTED = {"REDIS_PASSWORD"}  # a Redis without one is reached with none
_PUBSUB = Path("components/pubsub")


@dataclass(frozen=True)
class Move:
    """A move of messages: from one folder of components/pubsub to another.

    `home` is the folder whose `.dovecote` belongs to the running system, if one runs.
    """

    checkout: Path
    home: Path
    old: str
    new: str

    def apps(self) -> list[App]:
        """Return what is started: the bridge of each app of the run file, with components of both brokers.

        Raises RunFileError for a folder that is not there, or an app that is not served by `dovecote.serve`.
        """
        old, new = (self._folder(name) for name in (self.old, self.new))
        shared = self._written("shared", self.checkout / "components" / "shared", _needed)
        target = self._written("target", new, _as_target)
        resources = tuple(map(str, (shared, old, target)))
        return [
            app.model_copy(update={"command": _bridged(app), "resources_paths": resources})
            for app in load_run_file(self.checkout / "dapr.yaml").select(None)
        ]

    def env(self) -> dict[str, str]:
        """Return the addresses and passwords of the running system, as far as its `.dovecote/env` has them."""
        path = self.home / ".dovecote" / "env"
        lines = shlex.split(path.read_text(), comments=True) if path.exists() else []
        return dict(word.split("=", 1) for word in lines if "=" in word)

    def require_addresses(self, env: dict[str, str]) -> None:
        """Raise LauncherError that names the variables if it is not known where one of both brokers is."""
        for name in (self.old, self.new):
            parts = load_components([self._folder(name)])
            read = {variable for part in parts for variable in part.variables.values()}
            told = env.keys() | _DEFAULTED
            for variable in order.addresses(parts):
                told |= order.defaults(variable).keys()
            if missing := sorted(read - told):
                raise LauncherError(
                    f"where {name} is, is not known: set {', '.join(missing)}, or start the system with "
                    f"BROKER={name} in another shell"
                )

    def _folder(self, name: str) -> Path:
        [folder] = component_folders([str(_PUBSUB / Path(name).name)], self.checkout, {})
        return folder

    def _written(self, name: str, source: Path, change: Callable[[Any], Any]) -> Path:
        folder = self.home / ".dovecote" / "bridge" / "components" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        documents = [kept for path in sorted(source.glob("*.yaml")) for kept in _changed(path, change)]
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(documents), encoding="utf-8")
        return folder


def run(move: Move, env: dict[str, str], idle: float, progress: Progress) -> dict[str, int]:
    """Move until nothing has come for `idle` seconds; returns how many messages of each topic were moved.

    Raises a LauncherError that says why it cannot be. An interrupt ends it in order: what was taken and not yet
    published stays on the old broker.
    """
    env = {**move.env(), **env}
    move.require_addresses(env)
    with (
        httpx.Client(timeout=10, trust_env=False) as client,
        System(
            move.checkout,
            move.home / ".dovecote" / "bridge",
            apps=move.apps(),
            env=env,
            with_model=False,
            progress=progress,
        ) as system,
    ):
        passed: dict[str, dict[str, int]] = {}
        with progress.step(f"Moving messages from {move.old} to {move.new}") as step:
            last = time.monotonic()
            while time.monotonic() - last < idle:
                time.sleep(_LOOK_SECONDS)
                if (now := {**passed, **_passed(system, client)}) != passed:
                    last, passed = time.monotonic(), now
                    step.update(detail=f"{_total(passed).total()} so far")
        return dict(sorted(_total(passed).items()))


def _passed(system: System, client: httpx.Client) -> dict[str, dict[str, int]]:
    """How many messages of each topic each app's bridge has moved, of those that answer just now."""
    passed: dict[str, dict[str, int]] = {}
    for app in system.apps:
        with contextlib.suppress(httpx.HTTPError):
            passed[app] = client.get(f"{system.url(app)}/passed").raise_for_status().json()
    return passed


def _total(passed: dict[str, dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for topics in passed.values():
        total.update(topics)
    return total


def _bridged(app: App) -> tuple[str, ...]:
    *before, module = app.command
    if tuple(before[-2:]) != _SERVE:
        raise RunFileError(f"dapr.yaml: app {app.app_id!r} is not started with `python -m dovecote.serve MODULE`")
    return (*before, "--bridge", module)


def _changed(path: Path, change: Callable[[Any], Any]) -> Iterator[Any]:
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        if document and (kept := change(document)) is not None:
            yield kept


def _needed(document: Any) -> Any:
    secret_store = str(document["spec"].get("type", "")).startswith("secretstores.")
    return document if secret_store or document["kind"] == "Resiliency" else None


def _as_target(document: Any) -> Any:
    if document["metadata"]["name"] != "pubsub":
        return None
    return {**document, "metadata": {**document["metadata"], "name": "target"}}
