"""`python -m deploy.local`: what the user sees, and that nothing is left behind."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.checkout import processes_of, write_checkout
from tests.support.waiting import wait_until

TINY = "tests.support.tiny_app"
STUBBORN = "tests.support.stubborn_app"
# The first start on a machine may have to build the Dapr runtime.
pytestmark = pytest.mark.timeout(1500)
READY_SECONDS = 1200


class Launcher:
    """A launcher in a process of its own."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.home = home
        self._output = (home / "output").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", "--checkout", str(home), *arguments],
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    @property
    def output(self) -> str:
        return (self.home / "output").read_text()

    def wait_ready(self) -> str:
        """Return the address."""
        wait_until(lambda: "Ready: " in self.output or self.process.poll() is not None, "ready", READY_SECONDS)
        found = re.search(r"Ready: (\S+)", self.output)
        assert found, self.output
        return found[1]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._output.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for process in processes_of(tmp_path):
        process.kill()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=1).is_success
    except httpx.TransportError:
        return False


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.local", "--checkout", str(home), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=READY_SECONDS, check=False)


@pytest.fixture
def launcher(home: Path) -> Iterator[Launcher]:
    write_checkout(home, gateway=TINY, echo=TINY)
    launcher = Launcher(home, "up")
    launcher.wait_ready()
    yield launcher
    launcher.close()


def test_an_interrupt_ends_everything_in_order(launcher: Launcher) -> None:
    names = sorted(process.name() for process in processes_of(launcher.home))
    servers = ["model", "placement", "redis-server", "scheduler"]
    assert names == sorted(["python", "daprd", "daprd", "gateway", "echo", *servers])
    launcher.process.send_signal(signal.SIGINT)
    assert launcher.process.wait(60) == 0, launcher.output
    assert processes_of(launcher.home) == []
    assert "killed" not in launcher.output
    assert "Traceback" not in launcher.output


def test_a_launcher_that_is_killed_takes_everything_along_and_the_data_stays(launcher: Launcher) -> None:
    url = httpx.get(f"{launcher.wait_ready()}/environment/DAPR_HTTP_PORT").json()
    state = f"http://127.0.0.1:{url}/v1.0/state/statestore"
    httpx.post(state, json=[{"key": "kept", "value": "safe"}], timeout=30).raise_for_status()
    launcher.process.kill()
    launcher.process.wait()
    wait_until(lambda: not processes_of(launcher.home), "the end of every process")
    again = Launcher(launcher.home, "up")
    try:
        again.wait_ready()
        assert httpx.get(f"{state}/kept", timeout=30).json() == "safe"
    finally:
        again.process.terminate()
        assert again.process.wait(60) == 0
        again.close()


def test_what_an_earlier_run_left_behind_is_ended_at_the_next_start(home: Path) -> None:
    write_checkout(home, gateway=TINY)
    left = subprocess.Popen(["sleep", "600"], env={**os.environ, "DOVECOTE_RUN": str(home)})
    assert run(home, "up", "--once").returncode == 0
    assert left.wait(1) is not None


def test_a_second_start_names_the_address_of_the_first_and_down_ends_it(launcher: Launcher) -> None:
    url = launcher.wait_ready()
    second = run(launcher.home, "up")
    assert second.returncode == 1
    assert f"a system already runs here at {url} (process {launcher.process.pid})" in second.stderr
    assert run(launcher.home, "down").returncode == 0
    assert launcher.process.wait(10) == 0
    assert "nothing runs here" in run(launcher.home, "down").stderr


def test_a_second_interrupt_kills_what_does_not_end(home: Path) -> None:
    write_checkout(home, gateway=STUBBORN)
    launcher = Launcher(home, "up")
    try:
        url = launcher.wait_ready()
        began = time.monotonic()
        launcher.process.send_signal(signal.SIGINT)
        # The app has been asked to end when it no longer answers.
        wait_until(lambda: not answers(url), "the stop")
        launcher.process.send_signal(signal.SIGINT)
        assert launcher.process.wait(60) == 0, launcher.output
        assert time.monotonic() - began < 9, "the app's ten seconds were not waited for"
        assert processes_of(home) == []
    finally:
        launcher.close()


def test_once_fails_with_the_last_words_of_what_cannot_run(home: Path) -> None:
    write_checkout(home, gateway=TINY, broken="no_such_module")
    result = run(home, "up", "--once")
    assert result.returncode == 1
    assert result.stderr.count("broken fails again and again (exit status 1)") == 1
    assert "No module named no_such_module" in result.stderr
    assert processes_of(home) == []


def test_a_wrong_choice_is_refused_before_anything_starts(home: Path) -> None:
    write_checkout(home, gateway=TINY)
    result = run(home, "up", "--broker", "carrier-pigeon")
    assert result.returncode == 1
    assert re.search(r"error: there is no 'carrier-pigeon' in .*pubsub; there are: .*redis", result.stderr)
    assert not (home / ".dovecote").exists()


def test_the_servers_alone_serve_a_run_by_hand(home: Path) -> None:
    write_checkout(home, gateway=TINY)
    result = run(home, "up", "--infra", "--once")
    assert result.returncode == 0, result.stderr
    assert f". {home}/.dovecote/env && dapr run -f dapr.yaml" in result.stdout
    assert "export REDIS_HOST=127.0.0.1:21001\n" in (home / ".dovecote" / "env").read_text()
