"""Waiting for something to become true, with a deadline and without a fixed sleep."""

import time
from collections.abc import Callable

_INTERVAL = 0.02


def wait_until(true: Callable[[], object], what: str, seconds: float = 10.0) -> None:
    """Return as soon as `true()` is; fail, naming what was awaited, after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(_INTERVAL)
