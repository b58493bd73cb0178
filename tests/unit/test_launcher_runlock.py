"""One system to a home, and nothing left of an earlier one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.errors import AlreadyRunningError
from deploy.local.processes import MARKER
from deploy.local.runlock import RunLock, end_leftovers
from tests.support.waiting import wait_until

HOLD = """\
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
from pathlib import Path
from deploy.local.runlock import RunLock
lock = RunLock(Path(sys.argv[1]))
lock.acquire()
lock.record("http://127.0.0.1:21210")
signal.sigwait({signal.SIGTERM})
"""


def hold(home: Path) -> subprocess.Popen[bytes]:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(home)])
    wait_until(lambda: "21210" in _text(home), "the lock")
    return holder


def _text(home: Path) -> str:
    path = home / ".dovecote" / "run.json"
    return path.read_text() if path.exists() else ""


def test_a_second_system_is_told_the_address_of_the_first(tmp_path: Path) -> None:
    holder = hold(tmp_path)
    try:
        with pytest.raises(
            AlreadyRunningError, match=rf"already runs here at http://127\.0\.0\.1:21210 \(process {holder.pid}\)"
        ):
            RunLock(tmp_path).acquire()
    finally:
        holder.terminate()
        holder.wait()


def test_a_lock_ends_with_its_holder_however_that_dies(tmp_path: Path) -> None:
    holder = hold(tmp_path)
    holder.kill()
    holder.wait()
    lock = RunLock(tmp_path)
    lock.acquire()
    lock.release()


def test_down_ends_the_holder(tmp_path: Path) -> None:
    holder = hold(tmp_path)
    assert RunLock(tmp_path).end_holder()
    assert holder.wait(5) == 0
    assert not RunLock(tmp_path).end_holder()


def test_processes_of_an_earlier_run_are_ended_and_no_others(tmp_path: Path) -> None:
    mine, theirs = str(tmp_path / "mine"), str(tmp_path / "theirs")
    sleepers = [subprocess.Popen(["sleep", "60"], env={**os.environ, MARKER: home}) for home in (mine, theirs)]
    try:
        assert end_leftovers(Path(mine)) == 1
        assert [sleeper.poll() is None for sleeper in sleepers] == [False, True]
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()
