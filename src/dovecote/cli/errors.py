"""The errors of the command, each with its exit status.

CommandError          1
├── UnavailableError  1    the gateway says that it cannot now; it may later
├── NotRunningError   3    no system runs, or not where it was looked for
└── StoppedError      130  the user interrupted it
"""

import sys
from typing import ClassVar


class CommandError(Exception):
    """Root of the command's errors: a text that names the cause, and the mend where there is one."""

    status: ClassVar[int] = 1

    def __init__(self, message: str, *, mend: str = "") -> None:
        super().__init__(message)
        self.mend = mend


class UnavailableError(CommandError):
    """The gateway says that it cannot now; it may later."""


class NotRunningError(CommandError):
    """No system runs, or not where it was looked for."""

    status = 3


class StoppedError(CommandError):
    """The user interrupted it."""

    status = 130


def report(error: CommandError) -> None:
    """Write an error and its mend to the error stream."""
    mend = f"mend:  {error.mend}\n" if error.mend else ""
    sys.stderr.write(f"error: {error}\n{mend}")
