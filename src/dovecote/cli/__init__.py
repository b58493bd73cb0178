"""The command `dovecote`: start the system, ask it, look at it."""

from collections.abc import Sequence

from dovecote.cli.errors import CommandError, report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; raises SystemExit or returns the exit status.

    0: done or answered, 1: a task or a check failed, 2: wrong usage, 3: no system runs, 130: interrupted.
    """
    from dovecote.cli.commands import app  # noqa: PLC0415 - what only wants an error class need not load all this

    try:
        app(arguments)
    except CommandError as error:
        report(error)
        return error.status
    return 0
