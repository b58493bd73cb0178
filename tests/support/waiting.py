"""Waiting for something to become true, with a deadline and without a fixed sleep."""

import time
from collections.abc import Callable

_INTERVAL = 0.02


def wait_until(true: Callable[[], object], what: str, seconds: float = 10.0, interval: float = _INTERVAL) -> None:
    """Return as soon as `true()` is, looked at every `interval` seconds; fail, naming it, after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(interval)
