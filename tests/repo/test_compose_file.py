"""Compose's files say the same as the run file, the components and pyproject.toml."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.docker import images
from deploy.local.runfile import load_run_file, sidecar_flags
from deploy.local.versions import SOURCE_VERSION

CHECKOUT = Path(__file__).resolve().parents[2]
COMPOSE = CHECKOUT / "docker-compose.yml"
FILES = sorted((CHECKOUT / "deploy/compose").glob("*.yml"))
TEXTS = [path.read_text() for path in (COMPOSE, *FILES)]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
APPS = {app.app_id: app for app in load_run_file(CHECKOUT / "dapr.yaml").apps}
# With TLS the servers are others' own.
FOLDERS = [path for path in sorted((CHECKOUT / "components/pubsub").iterdir()) if not path.name.endswith("-tls")]
SERVERS = {"demo-model", "redis", "broker", "placement", "scheduler", "prepare"}


def test_compose_brings_up_the_apps_of_the_run_file_each_with_a_sidecar_and_a_network() -> None:
    others = {name for name, service in SERVICES.items() if "profiles" in service}
    wanted = {f"{app}{part}" for app in APPS for part in ("", "-dapr", "-pod")}
    assert SERVICES.keys() - others == wanted | SERVERS
    for app in APPS:
        assert SERVICES[app]["image"] == f"${{REGISTRY:-}}dovecote/{app}:${{TAG:-{images.version()}}}"
        assert SERVICES[f"{app}-dapr"]["command"] == [f"--app-id={app}"]
        assert SERVICES[app]["network_mode"] == SERVICES[f"{app}-dapr"]["network_mode"] == f"service:{app}-pod"


def test_all_that_compose_runs_is_confined() -> None:
    for name, service in SERVICES.items():
        if "profiles" not in service and not name.endswith("-dapr"):  # whose file is below
            assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
            assert service["security_opt"] == ["no-new-privileges:true"], name
    assert {name for name, service in SERVICES.items() if service.get("user") == "0:0"} == {"prepare"}
    sidecar = yaml.safe_load((CHECKOUT / "deploy/compose/sidecar.yml").read_text())["services"]["sidecar"]
    assert (sidecar["read_only"], sidecar["cap_drop"], sidecar["user"]) == (True, ["ALL"], "65532:65532")


def test_only_the_gateway_is_published_and_on_the_loopback_alone() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.pop("gateway-pod") == ["${GATEWAY_ADDRESS:-127.0.0.1:21010}:8080"]
    for name, ports in published.items():
        assert "profiles" in SERVICES[name]
        assert all(re.match(r"\$\{\w+:-127\.0\.0\.1:", port) for port in ports), name


def test_prometheus_reads_every_sidecar() -> None:
    read = yaml.safe_load((CHECKOUT / "deploy/observability/prometheus.yml").read_text())["scrape_configs"]
    targets = {target for job in read for row in job["static_configs"] for target in row["targets"]}
    assert targets == {*(f"{app}-pod:9090" for app in APPS), "collector:8889"}


def test_sidecars_have_the_flags_of_the_run_file() -> None:
    sidecar = yaml.safe_load((CHECKOUT / "deploy/compose/sidecar.yml").read_text())["services"]["sidecar"]
    flags = {flag.partition("=")[0]: flag.partition("=")[2] for flag in sidecar["entrypoint"]}
    for flag in sidecar_flags(APPS["gateway"]):
        name, _, value = flag.partition("=")
        if "port" not in name and name != "--app-id":
            assert flags[name] == value.removesuffix("true"), flag


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_broker_has_its_file_with_a_server_and_all_that_its_components_read(folder: Path) -> None:
    services = yaml.safe_load((CHECKOUT / f"deploy/compose/{folder.name}.yml").read_text())["services"]
    assert services.keys() == {"broker", "sidecar"}
    shared = yaml.safe_load((CHECKOUT / "deploy/compose/sidecar.yml").read_text())["services"]["sidecar"]
    given = {*shared["environment"], *services["sidecar"].get("environment", {})}
    text = "".join(path.read_text() for path in folder.glob("*.yaml"))
    assert set(re.findall(r"secretKeyRef: \{name: (\w+)", text)) <= given


def test_versions_are_those_of_the_project_and_none_is_called_latest() -> None:
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    for text in TEXTS:
        assert set(re.findall(r"\$\{TAG:-(.*?)\}", text)) <= {version}
        assert set(re.findall(r"\$\{DAPR_VERSION:-(.*?)\}", text)) <= {SOURCE_VERSION}
        assert "latest" not in text
