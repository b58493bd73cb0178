"""Readiness: asking every server and app until all say yes, one cannot be kept running, or time is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import aiohttp

from deploy.local.errors import NotReadyError

# A probe returns None when what it asks is ready, else why not.
Probe = Callable[[aiohttp.ClientSession], Awaitable[str | None]]
_INTERVAL = 0.1
_ANSWER_SECONDS = 2.0


def http_probe(*urls: str) -> Probe:
    """Return a probe that wants a 2xx answer from each of the addresses."""

    async def ask(session: aiohttp.ClientSession) -> str | None:
        for url in urls:
            try:
                async with session.get(url) as response:
                    if not response.ok:
                        return f"{url} answers {response.status}: {(await response.text()).strip()[:500]}"
            except (aiohttp.ClientError, TimeoutError) as error:
                return f"{url} does not answer: {error or type(error).__name__}"
        return None

    return ask


def check_probe(check: Callable[[], Awaitable[bool]], answer: str) -> Probe:
    """Return a probe that wants True from `check`, and else answers `answer`."""

    async def ask(_session: aiohttp.ClientSession) -> str | None:
        return None if await check() else answer

    return ask


async def wait_until_ready(
    probes: Mapping[str, Probe], faults: Callable[[], list[str]], seconds: float
) -> None:
    """Ask all probes until each has said yes once.

    Raises NotReadyError: with the faults as soon as there are any, or after `seconds` with what each that is
    not ready has answered.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    waiting = dict(probes)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS)) as session:
        while True:
            answers = await asyncio.gather(*(probe(session) for probe in waiting.values()))
            missing = {name: why for name, why in zip(waiting, answers, strict=True) if why is not None}
            waiting = {name: probes[name] for name in missing}
            if not waiting:
                return
            if found := faults():
                raise NotReadyError("\n".join(found))
            if loop.time() > deadline:
                lines = "\n".join(f"  {name}: {answer}" for name, answer in missing.items())
                raise NotReadyError(f"not ready after {seconds:g} s:\n{lines}")
            await asyncio.sleep(_INTERVAL)
