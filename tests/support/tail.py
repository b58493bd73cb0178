"""The command `dovecote tail`, as a user runs it beside a system."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_until
from tests.support.whole import CHECKOUT, Whole

_COMMAND = Path(sys.executable).with_name("dovecote")


class Tail:
    """What it has shown so far: messages as JSON, and notes."""

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []
        self.notes: list[str] = []

    def topics(self) -> set[str]:
        """The topics of what was shown."""
        return {row["topic"] for row in self.shown}


@contextmanager
def tail(system: Whole, *patterns: str) -> Iterator[Tail]:
    """It looks on while the block runs, then gets the Ctrl-C that it ends at."""
    home = system.system.env_file.parent.parent
    for name in ("dapr.yaml", "deploy"):
        if not (home / name).exists():
            (home / name).symlink_to(CHECKOUT / name)
    told = Tail()
    with subprocess.Popen(
        [str(_COMMAND), "tail", "--json", *patterns],
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = process.stdout, process.stderr
        readers = [
            threading.Thread(target=lambda: told.shown.extend(map(json.loads, out)), daemon=True),
            threading.Thread(target=lambda: told.notes.extend(err), daemon=True),
        ]
        for reader in readers:
            reader.start()
        try:
            try:
                wait_until(lambda: any("Looking on at" in note for note in told.notes), "the tail", 60)
            except AssertionError as error:
                error.add_note(f"it says {told.notes}")
                raise
            yield told
        finally:
            process.send_signal(signal.SIGINT)
            status = process.wait(20)
            for reader in readers:
                reader.join(20)
    assert status == 130
    assert not any("Traceback" in note for note in told.notes), told.notes
