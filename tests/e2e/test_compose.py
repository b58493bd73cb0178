"""The whole set as compose brings it up, by a real engine."""

import subprocess
from collections.abc import Iterator, Mapping

import pytest

from deploy.local.progress import Progress
from tests.support.composed import Composed, composed
from tests.support.engine import own_engine

# The first time on a machine everything is made.
pytestmark = [pytest.mark.timeout(1200), pytest.mark.own_engine]

QUESTION = "What does durable mean for events, and what is 12% of 1,250?"


@pytest.fixture(scope="module", params=["redis", "mqtt"])
def running(request: pytest.FixtureRequest, service_images: Mapping[str, str]) -> Iterator[Composed]:
    env = {**service_images, "BROKER": request.param}
    with (
        own_engine(Progress(), networks=True) as own,
        composed(own, f"dovecote-tests-{request.param}", env) as found,
    ):
        yield found


def answer(asked: subprocess.Popen[str]) -> str:
    with asked:
        said, progress = asked.communicate(timeout=120)
    assert asked.returncode == 0, said + progress
    return said


def test_the_main_job_is_answered_from_the_documents_with_a_source(running: Composed) -> None:
    said = answer(running.ask(QUESTION))
    assert "150" in said
    assert "[README.md:" in said


def test_an_answer_comes_though_its_agent_and_a_sidecar_are_killed_meanwhile(running: Composed) -> None:
    model = running.container("demo-model")
    model.pause()
    asked = running.ask("What is 2 ** 10?")
    try:
        assert asked.stderr is not None
        assert any("researcher" in line for line in asked.stderr), "the researcher was never asked"
        running.crash("researcher")
        running.crash("writer-dapr")
    finally:
        model.unpause()
    assert "1024" in answer(asked)
    for service in ("researcher", "writer-dapr"):
        assert running.container(service).attrs["RestartCount"] == 1
