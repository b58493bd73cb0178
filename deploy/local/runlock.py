"""The claim of one running system on its home folder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import psutil

from deploy.local.errors import AlreadyRunningError, LauncherError
from deploy.local.leftovers import is_same

_INTERVAL = 0.02


class RunLock:
    """An exclusive lock on `.dovecote/run.json`, which says who runs; it is freed when its holder dies."""

    def __init__(self, home: Path) -> None:
        self.path = home / ".dovecote" / "run.json"
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock; raises AlreadyRunningError that names the running system's address."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = self._holder()
            file.close()
            at = f" at {holder['url']}" if holder.get("url") else ""
            raise AlreadyRunningError(
                f"a system already runs here{at} (process {holder.get('pid')}); "
                "`python -m deploy.local down` ends it"
            ) from error
        self._file = file
        self.record(None)

    def record(self, url: str | None, apps: Mapping[str, str] | None = None) -> None:
        """Write down this process, the address at which the system answers, and those of its apps."""
        if self._file is None:
            raise LauncherError(f"{self.path} is not locked")
        me = psutil.Process()
        self._file.truncate(0)
        told = {"pid": me.pid, "created": me.create_time(), "url": url, "apps": {**(apps or {})}}
        self._file.write(json.dumps(told) + "\n")
        self._file.flush()

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None

    def end_holder(self, seconds: float = 60.0) -> bool:
        """Ask the process that holds the lock to end and wait for it; False if nobody held it."""
        try:
            self.acquire()
        except AlreadyRunningError:
            holder = self._holder()
        else:
            self.release()
            return False
        process = psutil.Process(int(holder["pid"]))
        if not is_same(process, holder["created"]):
            raise LauncherError(f"{self.path} names process {process.pid}, not a launcher: remove it")
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(AlreadyRunningError):
                self.acquire()
                self.release()
                return True
            time.sleep(_INTERVAL)
        raise LauncherError(f"process {process.pid} did not end within {seconds:g} s")

    def _holder(self) -> dict[str, Any]:
        text = self.path.read_text()
        return dict(json.loads(text)) if text else {}
