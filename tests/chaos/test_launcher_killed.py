"""The launcher is killed with a question in flight: the next start answers it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from deploy.local.system import System
from tests.support.checkout import processes_of
from tests.support.model_server import ModelServer
from tests.support.waiting import wait_until
from tests.support.whole import CHECKOUT, Whole, whole_apps

pytestmark = pytest.mark.timeout(240)

SLOW = {
    "rules": [
        {"name": "find", "when": {"system": "clerk"}, "delay": 0.5, "text": "Found."},
        {"name": "write", "when": {"system": "write the answer"}, "delay": 0.5, "text": "Written."},
        {"name": "review", "when": {"system": "check the draft"}, "text": "APPROVE"},
    ]
}


def test_a_question_in_flight_is_answered_after_the_restart(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    with ModelServer(SLOW) as model:
        env = {**os.environ, "DEMO_MODEL_URL": model.url}
        command = [sys.executable, "-m", "tests.support.hosted", str(tmp_path), str(ready)]
        with subprocess.Popen(command, cwd=CHECKOUT, env=env) as launcher:
            wait_until(lambda: ready.exists() and ready.read_text(), "the system to be ready", 100)
            body = {"question": "What is it?", "docs": str(tmp_path)}
            task = httpx.post(f"{ready.read_text()}/tasks", json=body, timeout=20).json()["task_id"]
            wait_until(lambda: "write" in model.totals()["rules"], "the writer's model call", 30)
            launcher.send_signal(signal.SIGKILL)
        wait_until(lambda: not processes_of(tmp_path), "every process of the killed run to end", 20)
        env = {"DEMO_MODEL_URL": model.url}
        with System(CHECKOUT, tmp_path, apps=whole_apps(), with_model=False, env=env) as system:
            whole = Whole(system, model)
            result = whole.result(task, 100)
            whole.close()
        assert result["status"] == "completed", result["error"]
        assert result["answer"]["text"] == "Written."
        assert model.totals()["rules"] == {"find": 1, "write": 2, "review": 1}
