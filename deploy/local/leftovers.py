"""What a launcher that was killed has left behind: noted while it runs, ended at the next start.

The kernel ends the children of a launcher that dies, but not theirs, and not everywhere. A process is known as left
behind by the marker that its environment carries, or, since some programs overwrite theirs to show a title, by the
note of its id and start.
"""

import json
import os
import time
from contextlib import suppress
from pathlib import Path

import psutil

from deploy.local.errors import LauncherError

# Every process of a system carries its home in this variable.
MARKER = "DOVECOTE_RUN"
_END_SECONDS = 10.0
_INTERVAL = 0.02
# The kernel tells the start of a process relative to that of the machine, which a corrected clock moves a little.
_SAME_SECONDS = 2.0


def note_process(folder: Path, name: str, pid: int) -> None:
    """Note in the folder that the process of that name is now this one."""
    with suppress(psutil.NoSuchProcess):
        note = {"pid": pid, "created": psutil.Process(pid).create_time()}
        (folder / f"{name}.json").write_text(json.dumps(note))


def is_same(process: psutil.Process, created: float) -> bool:
    """Say whether the process is the one that started then, and not a later one with its id."""
    return abs(process.create_time() - created) < _SAME_SECONDS


def end_leftovers(home: Path, notes: Path) -> int:
    """Kill every process that an earlier system of this home left behind; returns how many.

    `notes` is the folder that `note_process` wrote to; it is emptied. Only the holder of the home's lock may ask.
    """
    found = {*_noted(notes), *_marked(home)}
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    deadline = time.monotonic() + _END_SECONDS
    while alive := [process.pid for process in found if _alive(process)]:
        if time.monotonic() > deadline:
            raise LauncherError(f"processes of an earlier run do not end: {alive}")
        time.sleep(_INTERVAL)
    for note in notes.glob("*.json"):
        note.unlink()
    return len(found)


def _noted(notes: Path) -> list[psutil.Process]:
    found = []
    for path in notes.glob("*.json"):
        # A launcher that is killed while it writes leaves half a note.
        with suppress(psutil.NoSuchProcess, json.JSONDecodeError):
            note = json.loads(path.read_text())
            process = psutil.Process(note["pid"])
            if is_same(process, note["created"]) and _alive(process):
                found.append(process)
    return found


def _marked(home: Path) -> list[psutil.Process]:
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.pid not in mine and process.environ().get(MARKER) == str(home) and _alive(process):
                found.append(process)
    return found


def _alive(process: psutil.Process) -> bool:
    # A zombie has ended; that its parent has not asked for its status yet holds nobody up.
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
