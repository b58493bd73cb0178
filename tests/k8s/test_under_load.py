"""What a cluster does to the pods of a release while questions are asked: none is lost, and none fails."""

from collections.abc import Callable

import pytest

from tests.k8s.load_pod import Report
from tests.k8s.release import APPS, Release
from tests.k8s.resources import measured
from tests.k8s.results import RESULTS

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def release(release_on: Callable[[str], Release]) -> Release:
    return release_on("redis")


def checked(release: Release, what: str, report: Report, note: str = "") -> None:
    """Every question has its one right answer, and there is no dead letter."""
    RESULTS.add(what, release.broker, report, note)
    assert report.wrong == []
    assert report.answered == report.asked
    assert release.dead_letters() == []


def test_the_main_job_is_done(release: Release) -> None:
    said = release.test()
    RESULTS.add("helm test", release.broker, note="the main job is done")
    assert "Phase:          Succeeded" in said, said


def test_an_app_that_has_no_business_with_another_is_refused(release: Release) -> None:
    call = (
        "import urllib.request as u, urllib.error as e\n"
        "try: print(u.urlopen(u.Request('http://127.0.0.1:3500/v1.0/invoke/{app}/method/{path}')).status)\n"
        "except e.HTTPError as error: print(error.code, error.read().decode())"
    )
    refused = release.namespace.executed(
        release.pod("writer"),
        "python3",
        "-c",
        call.format(app="recorder", path="deadletters/x"),
        container="writer",
    )
    assert refused.startswith("403")
    assert "denied access" in refused
    RESULTS.add("access control", release.broker, note="a call that is nobody's business: 403")


def test_what_containers_take_is_measured_at_rest_and_under_load(release: Release) -> None:
    rest = measured(release)
    with release.load():
        busy = measured(release)
    for when, rows in (("at rest", rest), ("under load", busy)):
        RESULTS.add(f"resources {when}", release.broker, note="\n".join(rows))
        assert {row.partition(":")[0] for row in rows} >= {*APPS}


def test_scaling_an_agent_up_and_down_loses_nothing(release: Release) -> None:
    with release.load() as asked:
        for replicas in (3, 1):
            release.namespace.kubectl("scale", "deployment/researcher", f"--replicas={replicas}")
            release.settled("researcher", replicas)
            asked.more_answers()
        report = asked.finish()
    checked(release, "researcher 1 -> 3 -> 1", report)
    assert report.failed == []


def test_a_rolling_update_of_each_app_loses_nothing_and_fails_no_request(release: Release) -> None:
    before = {pod["metadata"]["name"] for app in APPS for pod in release.pods(app)}
    with release.load() as asked:
        for app in APPS:
            release.namespace.kubectl("rollout", "restart", f"deployment/{app}")
            release.settled(app, 1)
        asked.more_answers()
        report = asked.finish()
    after = {pod["metadata"]["name"] for app in APPS for pod in release.pods(app)}
    assert not before & after
    checked(release, "rolling update, app by app", report)
    assert report.failed == []


def test_killed_pods_lose_nothing(release: Release) -> None:
    killed = ("researcher", "writer", "knowledge", "recorder", "orchestrator")
    with release.load() as asked:
        for app in killed:
            release.namespace.kubectl("delete", "pod", release.pod(app), "--force", "--grace-period=0")
            release.settled(app, 1)
            asked.more_answers(5)
        report = asked.finish()
    checked(release, f"pods killed: {', '.join(killed)}", report)


@pytest.mark.parametrize("servers", [("broker-0",), ("broker-0", "state-0")], ids=" and ".join)
def test_restarted_servers_lose_nothing(release: Release, servers: tuple[str, ...]) -> None:
    with release.load() as asked:
        asked.more_answers(5)
        release.namespace.kubectl("delete", "pod", *servers, "--wait=false")
        asked.more_answers()
        report = asked.finish()
    checked(release, f"restarted: {', '.join(servers)}", report)
