"""Waiting in a coroutine for something to become true, with a deadline."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from inspect import isawaitable
from typing import Any

from dovecote.testing import Network

_INTERVAL = 0.02


async def eventually(look: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
    """What `look()` gives as soon as it is true; fail, naming what was awaited, after `seconds`."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    while True:
        found = look()
        if isawaitable(found):
            found = await found
        if found:
            return found
        assert clock() < deadline, f"{what}: not within {seconds:g} s"
        await asyncio.sleep(_INTERVAL)


async def passed(net: Network, seconds: float, *, step: float = 1) -> None:
    """Let time pass in a network, in steps after each of which its workflows can do what they have to."""
    until = net.clock.now() + timedelta(seconds=seconds)

    async def later() -> bool:
        await net.advance(step)
        return net.clock.now() >= until

    await eventually(later, f"{seconds:g} seconds later", 60)
