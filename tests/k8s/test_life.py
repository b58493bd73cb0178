"""A release from its first day to its last: another broker, an upgrade from the version before, and the end."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.k8s.commands import CHECKOUT, Namespace, run
from tests.k8s.conftest import released
from tests.k8s.release import CHART, Release, chart_version
from tests.k8s.results import RESULTS
from tests.k8s.test_under_load import checked

pytestmark = pytest.mark.timeout(1200)

LABEL = "app.kubernetes.io/instance=dovecote"
# What may be there after the end: what was stored and the passwords to it, as deploy/README.md says, and what
# Kubernetes notes or makes by itself.
KEPT = {"persistentvolumeclaim", "secret", "event"}
NOT_OURS = {"configmap/kube-root-ca.crt", "serviceaccount/default"}


def before(folder: Path) -> Path:
    """The chart as it last was when it had another version, from the repository's history."""
    now = chart_version(CHART)
    path = CHART.relative_to(CHECKOUT)
    [renamed, *_] = run("git", "log", "--format=%H", f"-Sversion: {now}", "--", f"{path}/Chart.yaml").split()
    archive = subprocess.run(
        ["git", "archive", f"{renamed}^", str(path), "components", "deploy"],
        cwd=CHECKOUT,
        capture_output=True,
        check=True,
    )
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    assert chart_version(folder / path) != now
    return folder / path


def objects(namespace: Namespace) -> set[str]:
    """Every object in a namespace but Kubernetes' own, as kind/name."""
    kinds = run("kubectl", "api-resources", "--namespaced", "--verbs=list,delete", "--output=name").split()
    listed = namespace.kubectl("get", ",".join(kinds), "--ignore-not-found", "--output", "name", "--show-kind")
    return set(listed.split())


def clear(name: str) -> bool:
    """Whether an object is none of a release's, or one that it is said to leave."""
    kind = name.partition("/")[0].partition(".")[0]
    return kind in KEPT or name in NOT_OURS


def test_the_main_job_is_done_over_another_broker_and_over_its_restart(
    release_on: Callable[[str], Release],
) -> None:
    release = release_on("mqtt")
    assert "Succeeded" in release.test()
    RESULTS.add("helm test", release.broker, note="the main job is done")
    with release.load() as asked:
        release.namespace.kubectl("delete", "pod", "broker-0", "--wait=false")
        asked.more_answers()
        report = asked.finish()
    checked(release, "broker's pod restarted", report)
    release.uninstall()


def test_an_upgrade_from_the_version_before_loses_nothing_and_an_uninstall_leaves_nothing(tmp_path: Path) -> None:
    old = before(tmp_path)
    with released("redis") as release:
        others = objects(release.namespace)
        release.install(old, tag="")  # that of its own images
        with release.load() as asked:
            release.install()
            asked.more_answers()
            report = asked.finish()
        checked(release, f"upgrade {chart_version(old)} -> {chart_version(CHART)}", report)
        assert report.failed == []
        release.uninstall()
        left = {name for name in objects(release.namespace) - others if not clear(name)}
        assert left == set()
        everywhere = run(
            "kubectl", "get", "clusterroles,clusterrolebindings", "--output", "name", "--selector", LABEL
        )
        assert everywhere == ""
    RESULTS.add("uninstall", release.broker, note="nothing is left but volumes and passwords")
