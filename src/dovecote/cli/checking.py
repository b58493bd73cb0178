"""The checks of `dovecote doctor`: each is one line, with the mend where something is wrong."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from dovecote.cli.breakers import Breaker, read_breakers
from dovecote.cli.checkout import recorded_gateway
from dovecote.cli.errors import CommandError
from dovecote.cli.gateway import Gateway
from dovecote.cli.launcher import load
from dovecote.directory import Presence

MINIMUM_PYTHON = (3, 11)
# Folders of components, and the names by which apps know what each of their folders defines.
_ROLES = {"pubsub": ("pubsub", "urgent", "news"), "llm": ("llm",), "state": ("statestore", "claims")}


@dataclass(frozen=True)
class Check:
    """What was looked at, whether it is as it must be, what was found, and the mend if there is one."""

    name: str
    ok: bool
    text: str
    mend: str = ""


def check_all(checkout: Path) -> Iterator[Check]:
    """Every check of a checkout and of the system that runs in it, one after the other."""
    yield check_python()
    yield check_runtime(checkout)
    yield from check_components(checkout)
    yield check_run_file(checkout)
    yield from check_system(checkout)


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Check:
    """Whether this Python is new enough."""
    ok = version >= MINIMUM_PYTHON
    text = ".".join(map(str, version))
    return Check(
        "python", ok, text, "" if ok else "install 3.11 or later, then: make clean setup PYTHON=python3.12"
    )


def check_runtime(checkout: Path) -> Check:
    """Whether a Dapr runtime is here; none is no problem, since the launcher gets one."""
    installed, cache = load(checkout, "installed"), load(checkout, "cache")
    versions = load(checkout, "versions")
    home = os.environ.get("DOVECOTE_DAPR_HOME")
    try:
        if home:
            return Check("dapr", True, f"{installed.in_home(Path(home))[1].dapr} in {home}")
    except versions.NotAvailableError as error:
        return Check("dapr", False, f"DOVECOTE_DAPR_HOME: {error}", "unset it, and Dapr is fetched")
    try:
        binaries, found = installed.on_this_machine()
    except versions.NotAvailableError:
        pass  # what is installed is looked for first, but need not be there
    else:
        return Check("dapr", True, f"{found.dapr} as {binaries['daprd']}")
    try:
        stored, manifest = cache.find_stored(cache.cache_folder())
    except versions.NotAvailableError:
        get = "not here yet; the first run downloads it, or builds it from source in about fifteen minutes"
        return Check("dapr", True, get)
    return Check("dapr", True, f"{manifest.version}, {manifest.origin}, in {stored}")


def check_components(checkout: Path) -> Iterator[Check]:
    """Whether the component files can be read, are called what apps call them, and have their capabilities told."""
    folder = checkout / "components"
    try:
        capabilities = yaml.safe_load((folder / "capabilities.yaml").read_text())
    except (OSError, yaml.YAMLError) as error:
        yield Check("capabilities.yaml", False, str(error), "restore it: git checkout components/capabilities.yaml")
        return
    try:
        known = load(checkout, "settings").read_known(folder / "settings.yaml")
    except load(checkout, "errors").LauncherError as error:
        yield Check("settings.yaml", False, str(error), "restore it: git checkout components/settings.yaml")
        return
    for path in sorted(folder.glob("*/**/*.yaml")):
        problem = _component_problem(path, folder, capabilities)
        refused, told = ([problem], []) if problem else _setting_problems(checkout, path, known)
        name = str(path.relative_to(checkout))
        text = "; ".join(refused or told) or "readable"
        yield Check(name, not refused, text, f"edit {name}" if refused else "")


def _setting_problems(checkout: Path, path: Path, known: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What the sidecar would ignore or could not honour, and what is only to be told."""
    try:
        components = list(load(checkout, "components").read_components(path))
    except load(checkout, "errors").LauncherError as error:
        return [str(error)], []
    found = list(load(checkout, "settings").problems(components, known, os.environ))
    return [one.text for one in found if not one.warn], [one.text for one in found if one.warn]


def _component_problem(path: Path, folder: Path, capabilities: dict[str, Any]) -> str:
    try:
        documents = [document for document in yaml.safe_load_all(path.read_text()) if document]
        described = [(one["kind"], one["metadata"]["name"], one["spec"].get("type")) for one in documents]
    except (OSError, yaml.YAMLError) as error:
        return " ".join(str(error).split())
    except (KeyError, TypeError, AttributeError) as error:
        return f"it is no Dapr resource: {error!r}"
    role = path.relative_to(folder).parts[0]
    for kind, name, spec_type in described:
        if kind == "Component" and name not in _ROLES.get(role, (name,)):
            return f"its component is called {name!r}, and apps know {', '.join(map(repr, _ROLES[role]))}"
        if kind == "Component" and role == "pubsub" and spec_type not in capabilities:
            return f"capabilities.yaml has no row {spec_type!r}; it has {', '.join(capabilities)}"
    return ""


def check_run_file(checkout: Path) -> Check:
    """Whether dapr.yaml can be read, and what its ports are."""
    errors = load(checkout, "errors")
    try:
        apps = load(checkout, "runfile").load_run_file(checkout / "dapr.yaml").select(None)
        wanted = load(checkout, "plan").checked_ports(apps)
    except errors.LauncherError as error:
        return Check("dapr.yaml", False, str(error), "edit dapr.yaml")
    is_free = load(checkout, "ports").is_free
    taken = [str(port) for port in sorted(wanted) if not is_free(port)]
    moved = f"{', '.join(taken)} taken, make run uses others" if taken else "all free"
    return Check("dapr.yaml", True, f"{len(apps)} apps, ports {min(wanted)} to {max(wanted)}: {moved}")


def check_system(checkout: Path) -> Iterator[Check]:
    """Whether a system runs in the checkout, each of its apps is ready, and no circuit breaker is open."""
    url = recorded_gateway(checkout)
    if url is None:
        yield Check("system", True, "none runs here; make run starts one")
        return
    offset = json.loads((checkout / ".dovecote" / "ports.json").read_text())["offset"]
    yield Check("system", True, f"its gateway is at {url}")
    with httpx.Client(trust_env=False, timeout=5) as client:
        apps = [app.shifted(offset) for app in load(checkout, "runfile").load_run_file(checkout / "dapr.yaml").apps]
        for app in apps:
            address = url if app.app_id == "gateway" else f"http://127.0.0.1:{app.port}"
            yield _readiness(client, app.app_id, address)
        measures = {app.app_id: f"http://127.0.0.1:{app.metrics_port}/metrics" for app in apps}
        yield check_breakers(client, measures)


def check_breakers(client: httpx.Client, measures: Mapping[str, str]) -> Check:
    """Whether a circuit breaker is open, where the sidecars of such apps have their measures."""
    found: list[Breaker] = []
    silent = []
    for app_id, url in measures.items():
        try:
            found += read_breakers(client, url)
        except (httpx.HTTPError, ValueError) as error:
            silent.append(f"the sidecar of {app_id} has no measures ({error or type(error).__name__})")
    states = [f"{one.app_id} to {one.target}: {one.state} at its last call" for one in found]
    text = "; ".join([*(states or ["no call came to one yet"]), *silent])
    if any(one.state == "open" for one in found):
        mend = "see that the target answers: the next question that succeeds closes it (dovecote ask)"
        return Check("circuit breakers", False, text, mend)
    return Check("circuit breakers", True, text)


async def check_gateway(url: str, transport: httpx.AsyncBaseTransport | None = None) -> list[Check]:
    """Whether the gateway of a system elsewhere answers, and its apps are online; `transport` is for tests."""
    try:
        async with Gateway(url, transport) as gateway:
            apps = await gateway.agents()
    except CommandError as error:
        return [Check("gateway", False, str(error), "start the system, or forward a port to its gateway")]
    return [Check("gateway", True, f"answers at {url}"), *map(_presence, apps)]


def _presence(app: Presence) -> Check:
    if app.replicas:
        return Check(app.app_id, True, f"{app.state}, replicas: {len(app.replicas)}")
    return Check(app.app_id, False, f"{app.state} since {app.since:%Y-%m-%d %H:%M:%S %Z}", "look into its log")


def _readiness(client: httpx.Client, name: str, address: str) -> Check:
    log = f"look into .dovecote/logs/{name}.log"
    try:
        response = client.get(f"{address}/readyz")
    except httpx.TransportError as error:
        return Check(name, False, f"{address} does not answer ({error or type(error).__name__})", log)
    if response.is_success:
        return Check(name, True, "; ".join([f"ready at {address}", *response.json().get("notes", [])]))
    return Check(name, False, f"not ready: {response.text.strip()[:300]}", log)
