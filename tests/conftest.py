"""What holds for every test."""

import signal


def pytest_configure() -> None:
    """Take Ctrl-C as usual: a shell that starts the tests in its background has them and theirs ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
