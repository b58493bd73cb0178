"""Messages that wait on one broker are moved to another."""

import shutil
from pathlib import Path

import httpx
import pytest
import yaml

from deploy.local.bridge import Move, run
from deploy.local.progress import Progress
from deploy.local.system import System
from dovecote import Message, topics
from dovecote.messages import MessageType
from tests.support.waiting import wait_until
from tests.support.whole import CHECKOUT

pytestmark = pytest.mark.timeout(1500)
TASKS = 1000


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """One app, the worker, in the place of all others; Redis gives soon to another what one has not finished."""
    folder = tmp_path / "checkout"
    shutil.copytree(CHECKOUT / "components", folder / "components")
    (folder / ".venv").symlink_to(CHECKOUT / ".venv")
    run_file = yaml.safe_load((CHECKOUT / "dapr.yaml").read_text())
    app = run_file["apps"][0]
    run_file["apps"] = [{**app, "appID": "worker", "command": [*app["command"][:-1], "tests.support.worker"]}]
    (folder / "dapr.yaml").write_text(yaml.safe_dump(run_file))
    redis = folder / "components" / "pubsub" / "redis" / "pubsub.yaml"
    redis.write_text(redis.read_text().replace("value: 40s", "value: 8s"))
    return folder


def test_a_thousand_tasks_in_flight_are_all_done_though_the_broker_is_changed(
    checkout: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "done"
    folder.mkdir()
    env = {"WORKER_SECONDS": "0.3", "WORKER_DONE": str(folder)}
    home = tmp_path / "home"

    def done() -> set[str]:
        return {file.name for file in folder.iterdir()}  # <task>.<times>

    tasks = [
        Message(id=f"task-{number}", type=MessageType.TASK, sender="test", content=number)
        for number in range(TASKS)
    ]
    with System(checkout, home, broker="redis", with_model=False, env=env) as old:
        publish(old, tasks)
        wait_until(lambda: len(done()) > TASKS // 10, "some tasks are done", 60)
    # A port that is closed before the sidecar stops delivering is what loses messages (dovecote.dapr.inbound).
    assert "connection refused" not in (home / ".dovecote" / "logs" / "worker-daprd.log").read_text()
    left = TASKS - len(done())
    assert left > 0
    with System(checkout, home, broker="kafka", with_model=False, env=env):
        moved = run(Move(checkout, home, "redis", "kafka"), env, 12, Progress())
        wait_until(lambda: len(done()) == TASKS, "all tasks are done", 180)
    assert done() == {f"{task.id}.1" for task in tasks}
    assert moved[topics.inbox("worker")] >= left


def publish(system: System, tasks: list[Message]) -> None:
    """Publish tasks to the worker on Redis, in one call."""
    url = f"{system.sidecar_url('worker')}/v1.0/publish/bulk/pubsub/{topics.inbox('worker').replace('/', '.')}"
    entries = [
        {"entryId": task.id, "event": task.to_cloudevent(), "contentType": "application/cloudevents+json"}
        for task in tasks
    ]
    answer = httpx.post(url, json=entries, timeout=30, trust_env=False)
    assert answer.is_success, answer.text
