"""The fork server: a Python process that has imported what every app imports, and forks one app after another.

Importing costs each app two seconds of processor time, which nine of them on two cores would wait for; a fork costs
milliseconds. A forked app is what `python -m MODULE` would have been: own session, folder, environment and log.
Requests and answers are lines of JSON on standard input and output, see `deploy.local.spawning`.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import sys
from dataclasses import dataclass
from typing import Any

_READ_BYTES = 65536
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15


@dataclass(frozen=True)
class Request:
    """What a forked process is to become."""

    number: int
    name: str
    module: str
    arguments: list[str]
    cwd: str
    env: dict[str, str]
    log: str


class ForkServer:
    """Serves requests in one thread, since only a process with one thread forks safely."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests = requests
        self._answers = answers
        self._deaths, self._wakeup = os.pipe()
        os.set_blocking(self._wakeup, False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wakeup)

    def serve(self) -> Request | None:
        """Fork for each request: returns the request in the forked process, None in the fork server at the end."""
        unread = b""
        while True:
            readable, _, _ = select.select([self._requests, self._deaths], [], [])
            if self._deaths in readable:
                os.read(self._deaths, _READ_BYTES)
                self._bury()
            if self._requests in readable:
                data = os.read(self._requests, _READ_BYTES)
                if not data:
                    return None
                *lines, unread = (unread + data).split(b"\n")
                for line in lines:
                    request = Request(**json.loads(line))
                    if self._fork(request):
                        return request

    def _fork(self, request: Request) -> bool:
        placed, place = os.pipe()
        forkserver = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            _die_with(forkserver)
            for descriptor in (place, placed, self._requests, self._answers, self._deaths, self._wakeup):
                os.close(descriptor)
            return True
        os.close(place)
        # The answer waits until the new process leads its own group, by which it is signalled.
        os.read(placed, 1)
        os.close(placed)
        self._answer(number=request.number, pid=pid)
        return False

    def _bury(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self._answer(pid=pid, status=os.waitstatus_to_exitcode(status))

    def _answer(self, **answer: Any) -> None:
        os.write(self._answers, json.dumps(answer).encode() + b"\n")


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def become(request: Request) -> None:
    """Turn this process into the one that was asked for; its module runs as `__main__`."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = os.open(request.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(log)
    os.close(null)
    os.chdir(request.cwd)
    os.environ.clear()
    os.environ.update(request.env)
    ctypes.CDLL(None).prctl(_PR_SET_NAME, request.name.encode())
    sys.argv = [request.module, *request.arguments]
    runpy.run_module(request.module, run_name="__main__", alter_sys=True)


def main() -> None:
    """Import the modules that the arguments name, then fork until the launcher goes away."""
    requests, answers = os.dup(0), os.dup(1)
    # What an import prints must not stand among the answers.
    os.dup2(2, 1)
    for module in sys.argv[1:]:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    request = ForkServer(requests, answers).serve()
    if request is not None:
        become(request)


if __name__ == "__main__":
    main()
