"""An output that a test can wait on."""

import io
import threading

from rich.console import Console


class WatchedOutput(io.StringIO):
    """Text that is written to it can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._written = threading.Condition()

    def write(self, text: str) -> int:
        """Write and wake who waits."""
        with self._written:
            count = super().write(text)
            self._written.notify_all()
            return count

    def wait_for(self, text: str, seconds: float = 10.0) -> None:
        """Return as soon as the text has been written; fail after `seconds`."""
        with self._written:
            assert self._written.wait_for(lambda: text in self.getvalue(), seconds), self.getvalue()

    @property
    def lines(self) -> list[str]:
        """What has been written, line by line."""
        return self.getvalue().splitlines()

    def console(self, *, terminal: bool = False) -> Console:
        """A console that writes here."""
        return Console(file=self, force_terminal=terminal, width=200)
