"""How a program of this component is asked to end."""

import asyncio
import signal


def asked_to_end() -> asyncio.Event:
    """Set at SIGTERM or SIGINT, which end the process no more from now on."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    return asked
