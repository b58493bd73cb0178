"""A pod that asks questions while something happens to the system."""

import json
import logging
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.k8s.commands import Namespace
from tests.support.waiting import wait_until

log = logging.getLogger(__name__)

RATE: Final = 1.0  # questions a second: half of what two cores can do, so that a disturbance can be caught up
_SCRIPT: Final = Path(__file__).with_name("load.py")
_END: Final = 300.0  # seconds until the last question must be answered
_NAME: Final = "load"


@dataclass(frozen=True)
class Report:
    """What a load came to: every request that failed, and every answer that is wrong or missing."""

    asked: int
    answered: int
    requests: int
    failed: list[str]
    wrong: list[str]
    median: float  # seconds
    slowest: float  # seconds


class LoadPod:
    """Questions being asked, from a pod of their own."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._lines: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            ["kubectl", "--namespace", namespace.name, "logs", "--follow", _NAME], stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def answered(self) -> int:
        """How many questions have their answer so far."""
        return sum("answered" in line for line in [*self._lines])

    def more_answers(self, number: int = 10, seconds: float = 120) -> None:
        """Return when so many more questions are answered."""
        wanted = self.answered() + number
        wait_until(lambda: self.answered() >= wanted or not self._reader.is_alive(), f"{wanted} answers", seconds)
        assert self.answered() >= wanted, "the load ended by itself"

    def finish(self) -> Report:
        """Ask no more, wait for what is open, and give the report."""
        self._namespace.executed(_NAME, "touch", "/tmp/stop")
        self._reader.join(_END)
        reports = [Report(**line["report"]) for line in self._lines if "report" in line]
        assert reports, f"the load did not end within {_END:g} s: {self._lines[-3:]}"
        return reports[0]

    def close(self) -> None:
        """Follow the pod no more."""
        self._process.kill()
        self._reader.join()
        with self._process:
            pass  # waits for it, and closes its pipe

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            try:
                found = json.loads(line)
            except ValueError:
                log.warning("the load says %s", line.rstrip())
                continue
            self._lines.append(found)
            if "failed" in found:
                log.warning("a request failed: %s", found["failed"])


@contextmanager
def load(namespace: Namespace, image: str, gateway: str, labels: Mapping[str, str]) -> Iterator[LoadPod]:
    """Ask questions of the gateway at that address while the block runs, once the first are answered."""
    script = {"load.py": _SCRIPT.read_text()}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": _NAME}, "data": script}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": _NAME, "labels": dict(labels)},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": _NAME,
                    "image": image,
                    "command": ["python3", "-u", "/load/load.py", gateway, str(RATE)],
                    # With nothing asked for, it would be the first to wait on a busy node.
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [
                        {"name": "script", "mountPath": "/load"},
                        {"name": "tmp", "mountPath": "/tmp"},
                    ],
                }
            ],
            "volumes": [{"name": "script", "configMap": {"name": _NAME}}, {"name": "tmp", "emptyDir": {}}],
        },
    }
    try:
        for thing in (config, pod):
            namespace.kubectl("apply", "--filename", "-", text=json.dumps(thing))
        namespace.kubectl("wait", "--for=condition=Ready", f"pod/{_NAME}", "--timeout=60s")
        running = LoadPod(namespace)
        try:
            running.more_answers(5)
            yield running
        finally:
            running.close()
    finally:
        for kind in ("pod", "configmap"):
            namespace.kubectl("delete", kind, _NAME, "--ignore-not-found", "--force", "--grace-period=0")
