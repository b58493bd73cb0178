"""Readiness: asking every server and app until all say yes, one cannot be kept running, or time is over."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from deploy.local.errors import CrashLoopError, NotReadyError

# A probe returns None when what it asks is ready, else why not.
Probe = Callable[[], Awaitable[str | None]]
_INTERVAL = 0.1
_ANSWER_SECONDS = 2.0
_SUCCESS = 2


def http_probe(*urls: str) -> Probe:
    """Return a probe that wants a 2xx answer from each of the addresses."""

    async def ask() -> str | None:
        for url in urls:
            if (answer := await asyncio.to_thread(_get, url)) is not None:
                return answer
        return None

    return ask


def _get(url: str) -> str | None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        body = response.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return f"{url} does not answer: {error or type(error).__name__}"
    finally:
        connection.close()
    return None if response.status // 100 == _SUCCESS else f"{url} answers {response.status}: {body[:500]}"


def check_probe(check: Callable[[], Awaitable[bool]], answer: str) -> Probe:
    """Return a probe that wants True from `check`, and else answers `answer`."""

    async def ask() -> str | None:
        return None if await check() else answer

    return ask


async def wait_until_ready(probes: Mapping[str, Probe], faults: Callable[[], list[str]], seconds: float) -> None:
    """Ask all probes until each has said yes, and all say it again: a sidecar may say it just before it fails.

    Raises CrashLoopError with the faults as soon as there are any, NotReadyError after `seconds` with what each
    that is not ready has answered.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    waiting = dict(probes)
    again = False
    while True:
        answers = await asyncio.gather(*(probe() for probe in waiting.values()))
        missing = {name: why for name, why in zip(waiting, answers, strict=True) if why is not None}
        if again and not missing:
            return
        again = not missing
        waiting = {name: probes[name] for name in missing or probes}
        if found := faults():
            raise CrashLoopError("\n".join(found))
        if missing and loop.time() > deadline:
            lines = "\n".join(f"  {name}: {answer}" for name, answer in missing.items())
            raise NotReadyError(f"not ready after {seconds:g} s:\n{lines}")
        await asyncio.sleep(_INTERVAL)
