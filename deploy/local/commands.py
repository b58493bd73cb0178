"""Commands that take a while: what they are doing is shown."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from deploy.local.progress import Step

_SHOWN = 60
_KEPT_LINES = 20


def failure(command: Sequence[str], step: Step, env: Mapping[str, str] | None = None) -> str | None:
    """Run a command, its last line shown as the step's detail; return its last lines if it failed, else None.

    `env` is added to the environment. Raises OSError if the command cannot be run.
    """
    words: list[str] = []
    with subprocess.Popen(  # noqa: S603 - the caller's own command
        command,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            words = [*words[1 - _KEPT_LINES :], line.rstrip()]
            step.update(detail=line.strip()[:_SHOWN])
    return "\n".join(words) if process.returncode else None
