"""One system to a home, and nothing left of an earlier one."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.errors import AlreadyRunningError
from deploy.local.leftovers import MARKER, end_leftovers, note_process
from deploy.local.runlock import RunLock
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


def sleep(env: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], env={**os.environ, **env})


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    sleepers: list[subprocess.Popen[bytes]] = []
    yield sleepers
    for sleeper in sleepers:
        sleeper.kill()
        sleeper.wait()


def test_marked_processes_of_an_earlier_run_are_ended_and_no_others(
    tmp_path: Path, sleepers: list[subprocess.Popen[bytes]]
) -> None:
    mine, theirs = str(tmp_path / "mine"), str(tmp_path / "theirs")
    sleepers.extend(sleep({MARKER: home}) for home in (mine, theirs))
    assert end_leftovers(Path(mine), tmp_path) == 1
    assert [sleeper.poll() is None for sleeper in sleepers] == [False, True]


def test_a_noted_process_is_ended_even_if_it_hides_its_environment(
    tmp_path: Path, sleepers: list[subprocess.Popen[bytes]]
) -> None:
    sleepers.append(sleep({}))
    note_process(tmp_path, "sleeper", sleepers[0].pid)
    assert end_leftovers(tmp_path / "home", tmp_path) == 1
    assert sleepers[0].poll() is not None
    assert list(tmp_path.glob("*.json")) == []


def test_a_stranger_that_got_a_noted_id_is_left_alone(
    tmp_path: Path, sleepers: list[subprocess.Popen[bytes]]
) -> None:
    sleepers.append(sleep({}))
    note = {"pid": sleepers[0].pid, "created": psutil.Process(sleepers[0].pid).create_time() - 60}
    (tmp_path / "sleeper.json").write_text(json.dumps(note))
    assert end_leftovers(tmp_path / "home", tmp_path) == 0
    assert sleepers[0].poll() is None


def test_half_a_note_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "sleeper.json").write_text('{"pid": 1')
    assert end_leftovers(tmp_path / "home", tmp_path) == 0
