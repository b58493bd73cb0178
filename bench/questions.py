"""The whole system: questions through the gateway, from the post to the streamed answer."""

import asyncio
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

import aiohttp
from pydantic_core import from_json

from bench.processes import use_by_kind
from bench.rows import Row, percentile
from deploy.local.system import System

_ALONE: Final = 15
_AT_ONCE, _COUNT = 16, 64
_LIMIT: Final = 240  # seconds for one answer
_QUESTION: Final = "What carries messages between the services, and how much is 6 * 7?"
_DOCUMENTS: Final = {
    "messages.md": "# Messages\n\nA broker carries messages between the services. It keeps them until taken.\n",
    "state.md": "# State\n\nA state store keeps what a service must remember when it is restarted.\n",
}


async def measure(system: System, folder: Path) -> list[Row]:
    """Rows on one question at a time and on many, over documents that are put into the folder."""
    for name, text in _DOCUMENTS.items():
        (folder / name).write_text(text)
    limit = aiohttp.ClientTimeout(total=_LIMIT)
    async with aiohttp.ClientSession(system.url(), timeout=limit) as http:
        await _ask_many(http, folder, _AT_ONCE)
        alone = [await _ask(http, folder) for _ in range(_ALONE)]
        before, began = use_by_kind(system), time.monotonic()
        together = await _ask_many(http, folder, _COUNT)
        seconds = time.monotonic() - began
        after = use_by_kind(system)
    cost = ", ".join(f"{kind} {(after[kind].cpu - before[kind].cpu) / _COUNT * 1000:.0f}" for kind in after)
    return [
        Row.of(
            "a question alone, p50", "ms", median(alone) * 1000, note=f"{_ALONE} questions, demonstration model"
        ),
        Row.of(
            f"questions, {_AT_ONCE} at once",
            "questions/s",
            _COUNT / seconds,
            note=(
                f"{_COUNT} questions, each answered; p50 {median(together) * 1000:.0f} ms, "
                f"p99 {percentile(together, 99) * 1000:.0f} ms; CPU ms per question: {cost}"
            ),
        ),
    ]


async def _ask_many(http: aiohttp.ClientSession, folder: Path, count: int) -> list[float]:
    """Seconds until each of the answers."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def ask() -> float:
        async with slots:
            return await _ask(http, folder)

    return await asyncio.gather(*(ask() for _ in range(count)))


async def _ask(http: aiohttp.ClientSession, folder: Path) -> float:
    """Seconds from a question to its answer. Raises RuntimeError if that is an error."""
    began = time.monotonic()
    async with http.post(
        "/tasks", json={"question": _QUESTION, "docs": str(folder)}, raise_for_status=True
    ) as response:
        task_id = (await response.json())["task_id"]
    result = await _result(http, task_id)
    if result["status"] != "completed":
        raise RuntimeError(f"task {task_id!r}: {result}")
    return time.monotonic() - began


async def _result(http: aiohttp.ClientSession, task_id: str) -> dict[str, Any]:
    async with http.get(f"/tasks/{task_id}/events", raise_for_status=True) as stream:
        event = b""
        async for line in stream.content:
            name, _, value = line.strip().partition(b": ")
            if name == b"event":
                event = value
            elif name == b"data" and event == b"result":
                result: dict[str, Any] = from_json(value)
                return result
    raise RuntimeError(f"the events of task {task_id!r} ended without a result")
