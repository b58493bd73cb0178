"""What holds for every test."""

import signal

import pytest
from hypothesis import settings

# The same examples in each run, and no limit on the time of one: what else runs on the machine fails no test.
settings.register_profile("fixed", derandomize=True, deadline=None, database=None, max_examples=40)
settings.load_profile("fixed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--malformed-events", type=int, default=10_000, help="how many an app is sent")


def pytest_configure() -> None:
    """Take Ctrl-C as usual: a shell that starts the tests in its background has them and theirs ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
