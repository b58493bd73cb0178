"""The chart as a cluster would see it: golden texts, schemas, policies."""

import json
import re

import pytest
import yaml

from tests.charts.golden_texts import golden, path_of
from tests.charts.rendering import APPS, CHART, COMBINATIONS, KUBERNETES, of_kind, pods, rendered, run, values
from tests.charts.schemas import FOREIGN, VERSIONS, faults
from tests.support.checkout import ROOT

combinations = pytest.mark.parametrize(("broker", "environment"), COMBINATIONS)
# Everything that is off by default, at once.
ALL_ON = (
    *("--set", "ingress.enabled=true,ingress.tlsSecret=tls,httpRoute.enabled=true,tokens.enabled=true"),
    *("--set", "image.pullSecrets={mine}"),
    *("--set", "monitoring.serviceMonitor.enabled=true,monitoring.dashboard.enabled=true"),
    *("--set", "networkPolicy.enabled=true,autoscaling.enabled=true"),
    *("--set", "httpEndpoints.model.baseUrl=https://example.com,httpEndpoints.model.scopes={gateway}"),
    *("--set", "services.researcher.autoscale.minReplicas=2,services.researcher.autoscale.maxReplicas=3"),
    *("--set", "services.researcher.autoscale.cpu=70,services.researcher.autoscale.topic=agents/researcher/inbox"),
    *("--set", "documents.configMap=docs,dapr.tracing.endpoint=collector:4317,dapr.nativeSidecar=true"),
)


@combinations
def test_helm_finds_nothing_to_complain_of(broker: str, environment: str) -> None:
    done = run("lint", "--strict", str(CHART), *KUBERNETES, *values(broker, environment))
    assert done.returncode == 0, done.stdout + done.stderr


@combinations
def test_what_is_rendered_is_what_was_reviewed(broker: str, environment: str) -> None:
    reviewed = path_of(broker, environment).read_text(encoding="utf-8")
    assert golden(broker, environment) == reviewed, "if that is right: make pages, and review the difference"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_fits_its_schema(version: str) -> None:
    seen, found = set(), []
    for arguments in [values(*combination) for combination in COMBINATIONS] + [ALL_ON]:
        for row in rendered(*arguments):
            text = json.dumps(row, sort_keys=True)
            if text not in seen and row["kind"] not in FOREIGN:
                found += faults(row, version)
            seen.add(text)
    assert found == []


def test_a_wrong_object_does_not_fit() -> None:
    deployment = of_kind(rendered(), "Deployment")["gateway"]
    assert faults(deployment | {"spec": deployment["spec"] | {"replica": 2}}, VERSIONS[0])
    component = of_kind(rendered(), "Component")["pubsub"]
    assert faults(component | {"spec": component["spec"] | {"typ": "x"}}, VERSIONS[0])


def test_the_services_are_the_apps_of_the_run_file() -> None:
    listed = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))["services"]
    assert sorted(name for name, row in listed.items() if row.get("sidecar", True)) == APPS
    assert listed.keys() - APPS == {"demo-model"}


def test_the_images_are_of_the_projects_version() -> None:
    project = re.search(r'(?m)^version = "(.*)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project is not None
    images = [c["image"] for pod in pods(rendered()).values() for c in pod["spec"]["containers"]]
    assert {image.rpartition(":")[2] for image in images if image.startswith("dovecote/")} == {project[1]}


def test_a_sidecar_is_told_what_the_run_file_tells_it() -> None:
    common = yaml.safe_load((ROOT / "dapr.yaml").read_text(encoding="utf-8"))["common"]
    annotations = of_kind(rendered(), "Deployment")["researcher"]["spec"]["template"]["metadata"]["annotations"]
    names = {
        "appProtocol": "app-protocol",
        "enableAppHealthCheck": "enable-app-health-check",
        "appHealthCheckPath": "app-health-check-path",
        "appHealthProbeInterval": "app-health-probe-interval",
        "appHealthProbeTimeout": "app-health-probe-timeout",
        "appHealthThreshold": "app-health-threshold",
        "appMaxConcurrency": "app-max-concurrency",
        "maxBodySize": "max-body-size",
    }
    told = {name: annotations[f"dapr.io/{annotation}"] for name, annotation in names.items()}
    assert told == {
        name: str(common[name]).lower() if common[name] is True else str(common[name]) for name in names
    }


@combinations
def test_no_pod_may_do_more_than_it_must(broker: str, environment: str) -> None:
    for name, pod in pods(rendered(*values(broker, environment))).items():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in spec.get("initContainers", []) + spec["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name


@combinations
def test_every_container_has_limits_and_a_fixed_image_and_no_secret_in_the_clear(
    broker: str, environment: str
) -> None:
    for name, pod in pods(rendered(*values(broker, environment))).items():
        for container in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]:
            tag = container["image"].rpartition("/")[2].partition(":")[2]
            assert tag not in {"", "latest"}, name
            assert {"cpu", "memory"} <= container["resources"]["limits"].keys(), name
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            for variable in container.get("env", []):
                secret = re.search("PASSWORD|TOKEN|KEY|SECRET", variable["name"])
                assert not (secret and "value" in variable), f"{name}: {variable['name']}"


@combinations
def test_components_take_credentials_from_secrets_only(broker: str, environment: str) -> None:
    told = {"password", "url", "connectionString", "saslPassword", "key", "redisPassword", "clientKey"}
    for row in of_kind(rendered(*values(broker, environment)), "Component").values():
        for setting in row["spec"]["metadata"]:
            demonstration = setting.get("value") == "demonstration"  # what stands for a key with the demo model
            assert setting["name"] not in told or "secretKeyRef" in setting or demonstration, setting
