"""What Helm makes of the chart."""

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from deploy.local.helm import find_helm
from deploy.local.progress import Progress
from deploy.local.runfile import load_run_file
from tests.support.checkout import ROOT

CHART = ROOT / "charts" / "dovecote"
APPS = sorted(app.app_id for app in load_run_file(ROOT / "dapr.yaml").apps)
BROKERS = sorted(
    path.stem.removeprefix("values-") for path in CHART.glob("values-*.yaml") if "prod" not in path.stem
)
ENVIRONMENTS = ("trial", "production")
COMBINATIONS = [(broker, environment) for broker in BROKERS for environment in ENVIRONMENTS]
NAMESPACE = "demo"
KUBERNETES = ("--kube-version", "1.34.0")
# What the chart would generate anew each time.
GIVEN = (*KUBERNETES, "--set", "broker.password=given,state.password=given,tokens.api=given,tokens.app=given")
Object = dict[str, Any]


@cache
def helm() -> Path:
    """Where Helm lies."""
    return find_helm(Progress())


def values(broker: str, environment: str = "trial") -> tuple[str, ...]:
    """The arguments that name a broker's values, and those for production if that is wanted."""
    files = [CHART / f"values-{broker}.yaml"]
    if environment == "production":
        files.append(CHART / "values-production.yaml")
    return tuple(part for file in files for part in ("--values", str(file)))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Helm."""
    return subprocess.run([helm(), *arguments], capture_output=True, text=True, check=False)


@cache
def rendered(*arguments: str, chart: Path = CHART) -> tuple[Object, ...]:
    """The objects of the chart with these arguments, in Helm's order; `AssertionError` with what Helm says."""
    done = run("template", "dovecote", str(chart), "--namespace", NAMESPACE, *GIVEN, *arguments)
    assert done.returncode == 0, done.stderr
    return tuple(row for row in yaml.load_all(done.stdout, yaml.CSafeLoader) if row)


def refusal(*arguments: str) -> str:
    """What Helm says to values that the chart does not take."""
    done = run("template", "dovecote", str(CHART), "--namespace", NAMESPACE, *KUBERNETES, *arguments)
    assert done.returncode, "it was taken"
    return done.stderr


def of_kind(objects: tuple[Object, ...], *kinds: str) -> dict[str, Object]:
    """The objects of some kinds, by name."""
    return {row["metadata"]["name"]: row for row in objects if row["kind"] in kinds}


def pods(objects: tuple[Object, ...]) -> dict[str, Object]:
    """The pods that the objects make, as templates with metadata and spec, by kind and name."""
    made = {}
    for row in objects:
        template = row if row["kind"] == "Pod" else row.get("spec", {}).get("template")
        if template and "containers" in template.get("spec", {}):
            made[f"{row['kind']}/{row['metadata']['name']}"] = template
    return made
