"""What the containers of a release take, as the node's kubelet measures it."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.k8s.commands import run
from tests.k8s.release import Release
from tests.support.waiting import wait_until


@dataclass(frozen=True)
class Taken:
    """What one container took: processor time in all, in seconds, and memory now, in MiB."""

    seconds: float
    memory: float


def taken(release: Release) -> dict[tuple[str, str], Taken]:
    """What each container took so far, by pod and name."""
    nodes = run("kubectl", "get", "nodes", "--output", "name").split()
    return {key: row for node in nodes for key, row in _on(node.removeprefix("node/"), release.namespace.name)}


def used(first: dict[tuple[str, str], Taken], last: dict[tuple[str, str], Taken], seconds: float) -> list[str]:
    """For each kind of container: thousandths of a core between the two looks, and memory at the last."""
    rows = defaultdict(list)
    for (pod, container), row in last.items():
        if (pod, container) in first:
            busy = (row.seconds - first[pod, container].seconds) / seconds * 1000
            rows[container if container != "daprd" else f"daprd of {_app(pod)}"].append((busy, row.memory))
    return [
        f"{name}: {max(busy for busy, _ in found):.0f}m, {max(memory for _, memory in found):.0f} MiB"
        for name, found in sorted(rows.items())
    ]


def measured(release: Release, seconds: float = 30) -> list[str]:
    """What each kind of container takes within that time."""
    began, first = time.monotonic(), taken(release)
    wait_until(lambda: time.monotonic() > began + seconds, "the end of the measurement", seconds + 10, interval=1)
    return used(first, taken(release), time.monotonic() - began)


def _on(node: str, namespace: str) -> Iterator[tuple[tuple[str, str], Taken]]:
    summary = json.loads(run("kubectl", "get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary"))
    for pod in summary["pods"]:
        if pod["podRef"]["namespace"] == namespace:
            for container in pod["containers"]:
                cpu = container["cpu"].get("usageCoreNanoSeconds", 0) / 1e9
                memory = container["memory"].get("workingSetBytes", 0) / 2**20
                yield (pod["podRef"]["name"], container["name"]), Taken(cpu, memory)


def _app(pod: str) -> str:
    return pod.rsplit("-", 2)[0]
