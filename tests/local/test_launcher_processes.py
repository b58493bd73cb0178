"""How one process is kept running, and ended."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.spawning import Program
from deploy.local.supervisor import Supervisor
from tests.support.waiting import wait_until

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
)
PATIENT = "import time; print('up', flush=True); time.sleep(60)"
PARENT = "import subprocess, sys, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"


def python(name: str, code: str, cwd: Path, stop_seconds: float = 10.0) -> Program:
    return Program(name, (sys.executable, "-c", code), cwd, dict(os.environ), stop_seconds)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path, restart=True)
    yield supervisor
    supervisor.hurry()
    supervisor.call(supervisor.stop(list(supervisor.names)))
    supervisor.close()


def wait_for_words(supervisor: Supervisor, name: str, words: str = "up") -> None:
    log = supervisor.child(name).log
    wait_until(lambda: words in log.read_text(), f"{words!r} in the log of {name}")


def test_a_process_that_dies_is_started_again(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.call(supervisor.start([python("app", PATIENT, tmp_path)]))
    first = supervisor.child("app").pid
    supervisor.call(supervisor.child("app").kill())
    wait_until(lambda: supervisor.child("app").pid not in {None, first}, "a new process")
    assert not supervisor.faults()


def test_each_restart_is_one_line_with_the_reason_and_the_log(
    supervisor: Supervisor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor.call(supervisor.start([python("app", PATIENT, tmp_path)]))
    pid = supervisor.child("app").pid
    assert pid is not None
    os.kill(pid, signal.SIGSEGV)
    wait_until(lambda: caplog.messages, "a line")
    assert caplog.messages == [
        f"app ended (killed by SIGSEGV) and is started again; log: {tmp_path / 'logs' / 'app.log'}"
    ]


@pytest.mark.timeout(30)
def test_a_process_that_fails_five_times_is_reported_once_with_the_end_of_its_log(
    supervisor: Supervisor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor.call(supervisor.start([python("app", "raise ValueError('no such key')", tmp_path)]))
    wait_until(supervisor.faults, "the fault", 20)
    (fault,) = supervisor.faults()
    assert "app fails again and again (exit status 1)" in fault
    assert fault.count("ValueError: no such key") == 1
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.message for record in errors] == [fault]


def test_a_process_that_ignores_the_end_is_killed_when_its_time_is_over(
    supervisor: Supervisor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor.call(supervisor.start([python("app", STUBBORN, tmp_path, stop_seconds=0.2)]))
    wait_for_words(supervisor, "app")
    pid = supervisor.child("app").pid
    supervisor.call(supervisor.stop(["app"]))
    assert not psutil.pid_exists(pid or 0)
    assert caplog.messages == ["app did not end in 0.2 s and is killed"]


@pytest.mark.timeout(20)
def test_a_hurry_kills_what_is_being_waited_for(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.call(supervisor.start([python("app", STUBBORN, tmp_path, stop_seconds=600)]))
    wait_for_words(supervisor, "app")
    supervisor.hurry()
    supervisor.call(supervisor.stop(["app"]))
    assert supervisor.child("app").pid is None


def test_what_a_process_started_itself_ends_with_it(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.call(supervisor.start([python("app", PARENT, tmp_path)]))
    wait_for_words(supervisor, "app", "\n")
    grandchild = int(supervisor.child("app").log.read_text())
    supervisor.call(supervisor.stop(["app"]))
    wait_until(lambda: not psutil.pid_exists(grandchild), "the end of the grandchild")


def test_a_stopped_process_stays_down_and_can_be_started_again(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.call(supervisor.start([python("app", PATIENT, tmp_path)]))
    supervisor.call(supervisor.stop(["app"]))
    assert supervisor.child("app").pid is None
    supervisor.call(supervisor.child("app").start())
    assert psutil.pid_exists(supervisor.child("app").pid or 0)


def test_the_log_of_the_run_before_is_kept(supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "logs" / "app.log").write_text("the run before")
    supervisor.call(supervisor.start([python("app", PATIENT, tmp_path)]))
    wait_for_words(supervisor, "app")
    assert (tmp_path / "logs" / "app.log.1").read_text() == "the run before"
    assert supervisor.child("app").log.read_text() == "up\n"


def test_without_restart_a_dead_process_is_a_fault(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, restart=False)
    supervisor.call(supervisor.start([python("app", "raise SystemExit(3)", tmp_path)]))
    wait_until(supervisor.faults, "the fault")
    assert supervisor.faults() == [f"app ended (exit status 3), see {tmp_path / 'logs' / 'app.log'}"]
    supervisor.close()


def test_a_missing_program_is_reported_by_name(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, restart=False)
    supervisor.call(supervisor.start([Program("app", ("no-such-program",), tmp_path, dict(os.environ))]))
    wait_until(supervisor.faults, "the fault")
    assert "no-such-program" in supervisor.child("app").log.read_text()
    supervisor.close()
