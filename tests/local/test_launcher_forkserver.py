"""An app that is forked is what the same command would have been."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.spawning import Program
from deploy.local.supervisor import Supervisor
from deploy.local.system import SHARED_MODULES
from tests.support.waiting import wait_until

SELF = """\
import json, os, signal, sys, time
print(json.dumps({
    "name": __name__,
    "arguments": sys.argv[1:],
    "cwd": os.getcwd(),
    "path": sys.path[0],
    "leader": os.getsid(0) == os.getpid(),
    "input": sys.stdin.read(),
    "variable": os.environ.get("VARIABLE"),
    "home": "HOME" in os.environ,
    "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    "child": signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL,
}), flush=True)
if sys.argv[1:] == ["stay"]:
    time.sleep(60)
raise SystemExit(7)
"""


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    (tmp_path / "itself.py").write_text(SELF)
    supervisor = Supervisor(tmp_path, restart=False)
    supervisor.call(supervisor.open_forkserver(tmp_path, dict(os.environ), ["asyncio", "json"]))
    yield supervisor
    supervisor.call(supervisor.stop(list(supervisor.names)))
    supervisor.close()


def program(name: str, folder: Path, *arguments: str, interpreter: str = sys.executable) -> Program:
    env = {"VARIABLE": name, "PATH": os.environ["PATH"]}
    env |= {key: value for key, value in os.environ.items() if key.startswith("PYTHON")}
    return Program(name, (interpreter, "-m", "itself", *arguments), folder, env)


def words(supervisor: Supervisor, name: str) -> dict[str, object]:
    log = supervisor.child(name).log
    wait_until(lambda: log.exists() and "\n" in log.read_text(), f"the words of {name}", 20)
    return dict(json.loads(log.read_text()))


def test_a_forked_app_sees_what_the_command_would_have_seen(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.call(supervisor.start([program("forked", tmp_path, "one", "two")]))
    # Another interpreter's name is never forked.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    other = str(tmp_path / "bin" / "python")
    supervisor.call(supervisor.start([program("executed", tmp_path, "one", "two", interpreter=other)]))
    forked, executed = words(supervisor, "forked"), words(supervisor, "executed")
    assert forked.pop("variable") == "forked"
    assert executed.pop("variable") == "executed"
    assert forked == executed


def test_the_exit_status_of_a_forked_app_is_known(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.call(supervisor.start([program("app", tmp_path)]))
    wait_until(supervisor.faults, "the end", 20)
    assert supervisor.faults()[0].startswith("app ended (exit status 7)")


def test_a_forked_app_is_a_child_of_the_forkserver_and_can_be_killed(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    supervisor.call(supervisor.start([program("app", tmp_path, "stay")]))
    words(supervisor, "app")
    process = psutil.Process(supervisor.child("app").pid)
    assert "deploy.local.forkserver" in " ".join(psutil.Process(process.ppid()).cmdline())
    supervisor.call(supervisor.child("app").kill())
    wait_until(supervisor.faults, "the end")
    assert supervisor.faults()[0].startswith("app ended (killed by SIGKILL)")


def test_when_the_forkserver_is_killed_its_apps_end_and_others_start_without_it(
    supervisor: Supervisor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor.call(supervisor.start([program("app", tmp_path, "stay")]))
    words(supervisor, "app")
    process = psutil.Process(supervisor.child("app").pid)
    os.kill(process.ppid(), signal.SIGKILL)
    wait_until(supervisor.faults, "the end of the app")
    wait_until(lambda: not process.is_running(), "the end of its process")
    supervisor.call(supervisor.start([program("late", tmp_path)]))
    assert words(supervisor, "late")["variable"] == "late"
    assert "the fork server is lost" in caplog.text


def test_what_every_app_imports_starts_no_thread(tmp_path: Path) -> None:
    (tmp_path / "itself.py").write_text(SELF)
    supervisor = Supervisor(tmp_path, restart=False)
    supervisor.call(supervisor.open_forkserver(tmp_path, dict(os.environ), SHARED_MODULES))
    supervisor.call(supervisor.start([program("app", tmp_path, "stay")]))
    forkserver = psutil.Process(psutil.Process(supervisor.child("app").pid).ppid())
    threads = forkserver.num_threads()
    supervisor.call(supervisor.stop(["app"]))
    supervisor.close()
    assert threads == 1
