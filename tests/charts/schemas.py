"""The schemas that a cluster would hold objects against: Kubernetes' own, and those of Dapr's kinds."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema_rs
import yaml

from deploy.local.dapr_chart import find_dapr_chart
from deploy.local.progress import Progress
from tests.charts.rendering import Object

VERSIONS = ("1.30", "1.34", "1.37")  # the oldest that the chart takes, that of tests/k8s, the newest
# Kinds of others, whose schemas come with what the cluster may lack.
FOREIGN = {"ScaledObject", "TriggerAuthentication", "ServiceMonitor", "HTTPRoute"}


def faults(row: Object, version: str) -> list[str]:
    """What is wrong with an object, in a version of Kubernetes."""
    group = row["apiVersion"].rpartition("/")[0]
    validator = _dapr(row["kind"]) if group == "dapr.io" else _kubernetes(row["apiVersion"], row["kind"], version)
    name = f"{row['kind']} {row['metadata']['name']}"
    return [f"{name}: {error.message} at {error.instance_path}" for error in validator.iter_errors(row)]


@cache
def _kubernetes(api_version: str, kind: str, version: str) -> jsonschema_rs.Draft202012Validator:
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    group, _, number = api_version.rpartition("/")
    name = "-".join(part for part in (kind.lower(), group.partition(".")[0], number) if part)
    # What is said in another file is put into the same one.
    text = (folder / f"{name}.json").read_text(encoding="utf-8").replace("/api/_definitions.json#", "#")
    definitions = (folder / "_definitions.json").read_text(encoding="utf-8").replace("/api/_definitions.json#", "#")
    return jsonschema_rs.Draft202012Validator(
        json.loads(text) | {"$defs": json.loads(definitions)["$defs"], "$id": ""}
    )


@cache
def _dapr(kind: str) -> jsonschema_rs.Draft7Validator:
    for file in (find_dapr_chart(Progress()) / "crds").glob("*.yaml"):
        for row in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            if row and row["spec"]["names"]["kind"] == kind:
                return jsonschema_rs.Draft7Validator(
                    _strict(row["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
                )
    raise AssertionError(f"Dapr has no kind {kind}")


def _strict(schema: Any) -> Any:
    """A cluster drops properties that are not in the schema without a word; here they are faults."""
    if isinstance(schema, list):
        return [_strict(row) for row in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _strict(row) for key, row in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    return schema
