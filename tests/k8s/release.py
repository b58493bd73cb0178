"""A release of the chart in a namespace of its own, and what tests ask of it."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.local.runfile import load_run_file
from tests.k8s.commands import CHECKOUT, Namespace
from tests.k8s.load_pod import LoadPod, load
from tests.support.waiting import wait_until

CHART: Final = CHECKOUT / "charts" / "dovecote"
APPS: Final = tuple(app.app_id for app in load_run_file(CHECKOUT / "dapr.yaml").apps)
APP: Final = "app.kubernetes.io/name"
_NAME: Final = "dovecote"
log = logging.getLogger(__name__)


class Release:
    """One release: its namespace, and the broker that it was installed with."""

    def __init__(self, namespace: Namespace, broker: str) -> None:
        self.namespace = namespace
        self.broker = broker

    def install(self, chart: Path = CHART, tag: str | None = None) -> None:
        """Install the chart, or upgrade to it; return when every pod is ready.

        The images' tag is TAG if none is given, and that of the chart itself if it is empty.
        """
        registry = os.environ.get("REGISTRY", "")
        image_tag = os.environ.get("TAG", "") if tag is None else tag
        self.namespace.helm(
            "upgrade",
            "--install",
            _NAME,
            str(chart),
            *("--values", str(chart / f"values-{self.broker}.yaml")),
            *("--set-string", f"image.registry={registry},image.tag={image_tag}"),
            *("--wait", "--timeout", "8m"),
        )
        self.whole()

    def whole(self) -> None:
        """Return when every app is rolled out and each of its pods has its sidecar."""
        self.namespace.rolled_out(*(f"deployment/{app}" for app in APPS))
        without = [pod["metadata"]["name"] for app in APPS for pod in self.pods(app) if not has_sidecar(pod)]
        assert not without, f"pods without a sidecar: {without}"

    def test(self) -> str:
        """What `helm test` prints, the logs of its pod included."""
        return self.namespace.helm("test", _NAME, "--logs", "--timeout", "3m")

    def uninstall(self) -> None:
        """Take the release away, and wait for its pods to be gone; the one of the last `test` is left by Helm."""
        self.namespace.helm("uninstall", _NAME, "--wait", "--timeout", "3m")
        self.namespace.kubectl(
            "wait", "--for=delete", "pod", "--selector", f"{APP}!=question", "--timeout=120s", seconds=130
        )

    def pods(self, app: str) -> list[dict[str, Any]]:
        """The pods of an app that are not on their way out."""
        found = self.namespace.get("pods", "--selector", f"{APP}={app}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def settled(self, app: str, replicas: int, seconds: float = 240) -> None:
        """Return when an app has so many pods, all ready, and none is on its way out."""

        def there() -> bool:
            pods = self.namespace.get("pods", "--selector", f"{APP}={app}")
            return len(pods) == replicas and all(ready(pod) for pod in pods)

        wait_until(there, f"{replicas} pods of {app}, all ready", seconds, interval=1.0)

    def pod(self, app: str) -> str:
        """The name of one pod of an app."""
        return str(self.pods(app)[0]["metadata"]["name"])

    def dead_letters(self) -> list[str]:
        """Every message that was given up, as the recorder keeps it in the state store."""
        script = 'redis-cli --no-auth-warning -a "$BROKER_PASSWORD" '
        keys = self.namespace.executed("state-0", "sh", "-c", f"{script} --scan --pattern '*deadletter:*'")
        letters = []
        for key in keys.split():
            row = self.namespace.executed("state-0", "sh", "-c", f"{script} hget '{key}' data")
            if json.loads(row).get("message"):
                letters.append(row)
        return letters

    @contextmanager
    def load(self) -> Iterator[LoadPod]:
        """Ask questions while the block runs."""
        gateway = self.pods("gateway")[0]["spec"]["containers"]
        image = next(row["image"] for row in gateway if row["name"] == "gateway")
        with load(self.namespace, image, "http://gateway", {}) as asked:
            yield asked


def ready(pod: dict[str, Any]) -> bool:
    """Whether a pod takes work, and is not told to stop."""
    told = pod["status"].get("conditions", [])
    met = any(row["type"] == "Ready" and row["status"] == "True" for row in told)
    return met and "deletionTimestamp" not in pod["metadata"]


def has_sidecar(pod: dict[str, Any]) -> bool:
    """Whether Dapr's injector has been at a pod."""
    spec = pod["spec"]
    return any(row["name"] == "daprd" for row in spec["containers"] + spec.get("initContainers", []))


def chart_version(chart: Path) -> str:
    """The version in Chart.yaml."""
    return str(yaml.safe_load((chart / "Chart.yaml").read_text())["version"])
