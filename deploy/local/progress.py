"""What the launcher is doing, for whoever waits for it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner

QUIET_SECONDS = 2.0
INTERVAL_SECONDS = 10.0


def duration(seconds: float) -> str:
    """Seconds as a person reads them, for example `0.4 s`, `42 s` or `3 min 05 s`."""
    if seconds < 10:  # noqa: PLR2004 - one digit before the point
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


class Step:
    """One piece of work that somebody waits for."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._started = time.monotonic()
        self._done: int | None = None
        self._total: int | None = None
        self._detail = ""

    def update(self, done: int | None = None, total: int | None = None, detail: str | None = None) -> None:
        """Say how far the work is; what is left out stays as it was.

        `done` and `total` are in one unit, which `detail` may name. Safe to call often and from any thread.
        """
        self._done = self._done if done is None else done
        self._total = self._total if total is None else total
        self._detail = self._detail if detail is None else detail

    @property
    def elapsed(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self._started

    def describe(self) -> str:
        """The step as one line: title, how far, elapsed time."""
        amount = "" if self._done is None else f"{self._done}"
        if amount and self._total is not None:
            amount += f"/{self._total}"
        state = " ".join(part for part in (amount, self._detail) if part)
        return f"{self.title}: {state + ', ' if state else ''}{duration(self.elapsed)}"


class Progress:
    """Shows steps: live lines on a terminal, plain lines now and then elsewhere.

    A step shorter than two seconds leaves one line. A longer one leaves, where there is no terminal, a line at
    its start, one every `interval` seconds, and one at its end. Steps may be nested and run in several threads.
    """

    def __init__(self, console: Console | None = None, interval: float = INTERVAL_SECONDS) -> None:
        self.console = console or Console(stderr=True)
        self._interval = interval
        self._lock = threading.Lock()
        self._shown: dict[Step, Spinner] = {}
        self._live: Live | None = None

    def note(self, line: str) -> None:
        """Print one line."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show a step for as long as the block runs; its end is one line with the seconds it took."""
        step = Step(title)
        try:
            with self._live_line(step) if self.console.is_terminal else self._plain_lines(step):
                yield step
        except Exception:
            self.note(f"{title}: failed after {duration(step.elapsed)}")
            raise
        except BaseException:
            self.note(f"{title}: stopped after {duration(step.elapsed)}")
            raise
        self.note(f"{title}: done in {duration(step.elapsed)}")

    @contextmanager
    def _live_line(self, step: Step) -> Iterator[None]:
        with self._lock:
            self._shown[step] = Spinner("dots")
            if self._live is None:
                self._live = Live(console=self.console, get_renderable=self._render, transient=True)
                self._live.start()
        try:
            yield
        finally:
            with self._lock:
                del self._shown[step]
                if not self._shown and self._live is not None:
                    self._live.stop()
                    self._live = None

    def _render(self) -> Group:
        for step, spinner in list(self._shown.items()):
            spinner.update(text=step.describe())
        return Group(*self._shown.values())

    @contextmanager
    def _plain_lines(self, step: Step) -> Iterator[None]:
        ended = threading.Event()

        def report() -> None:
            if ended.wait(min(QUIET_SECONDS, self._interval)):
                return
            self.note(f"{step.title} ...")
            while not ended.wait(self._interval):
                self.note(step.describe())

        reporter = threading.Thread(target=report, name=f"progress of {step.title}", daemon=True)
        reporter.start()
        try:
            yield
        finally:
            ended.set()
            reporter.join()
