"""Questions at a steady rate, asked from inside the cluster by a pod; each answer is checked.

`python load.py GATEWAY RATE` asks RATE questions a second until the file /tmp/stop is there, and ends when each has
its answer. Each line of its output is a JSON object: an answer, a request that failed, and at the end the report.
"""

import asyncio
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import aiohttp

STOP: Final = Path("/tmp/stop")
_PATIENCE: Final = 240  # seconds for one question, from the first attempt to ask it until its answer
_LOOK: Final = 0.5
MODEL_CALLS: Final = ["researcher", "researcher", "reviewer", "writer"]


class Load:
    """What was asked, what came back, and every request that failed."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.requests = 0
        self.failed: list[str] = []
        self.wrong: list[str] = []
        self.seconds: list[float] = []

    async def ask(self, number: int) -> None:
        """One question, from asking to its answer and the journal of what was done for it."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(_PATIENCE):
                asked = await self._until("POST", "/tasks", 202, {"question": f"What is {number} + 1000?"})
                path = f"/tasks/{json.loads(asked)['task_id']}"
                result = await self._result(path)
                journal = await self._until("GET", f"{path}/events", 200)
        except TimeoutError:
            self.wrong.append(f"question {number}: no answer in {_PATIENCE} s")
            return
        self.seconds.append(time.monotonic() - began)
        self.wrong += [f"question {number} ({path}): {fault}" for fault in faults(number, result, journal)]
        say(answered=number, seconds=round(self.seconds[-1], 2))

    async def _result(self, path: str) -> dict[str, Any]:
        while True:
            result: dict[str, Any] = json.loads(await self._until("GET", path, 200))
            if result["status"] != "running":
                return result
            await asyncio.sleep(_LOOK)

    async def _until(self, verb: str, path: str, status: int, body: Any = None) -> str:
        """The text of the first answer with that status; each other one, and none at all, is a failed request."""
        while True:
            self.requests += 1
            try:
                async with self._session.request(verb, path, json=body) as answer:
                    text = await answer.text()
                    if answer.status == status:
                        return text
                    why = f"{answer.status} {text}"
            except (aiohttp.ClientError, OSError) as error:
                why = repr(error)
            self._fail(f"{verb} {path}: {why}")
            await asyncio.sleep(_LOOK)

    def _fail(self, what: str) -> None:
        self.failed.append(what)
        say(failed=what, at=time.strftime("%H:%M:%S"))


def faults(number: int, result: dict[str, Any], journal: str) -> list[str]:
    """What is wrong with the answer to a question, or with what was done for it."""
    if result["status"] != "completed":
        return [f"it is {result['status']}: {result['error']}"]
    found = []
    if str(number + 1000) not in result["answer"]["text"]:
        found.append(f"the answer is {result['answer']['text']!r}")
    calls = [step["agent"] for step in result["steps"] if step["kind"] == "model"]
    if sorted(calls) != MODEL_CALLS:
        found.append(f"model calls by {calls}")
    if journal.splitlines().count("event: result") != 1:
        found.append(f"its journal has not one result: {journal[-500:]!r}")
    return found


def say(**what: Any) -> None:
    """Print one JSON object as a line."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def main(gateway: str, rate: float) -> None:
    """Ask until told to stop, wait for what is open, and report."""
    # A connection for each request, as new users make them: each finds its way to a replica that serves.
    connector = aiohttp.TCPConnector(force_close=True)
    timeout = aiohttp.ClientTimeout(60)
    async with aiohttp.ClientSession(gateway, connector=connector, timeout=timeout) as session:
        load = Load(session)
        began = time.monotonic()
        async with asyncio.TaskGroup() as asking:
            for number in itertools.count(1):
                if STOP.exists():
                    break
                asking.create_task(load.ask(number))
                await asyncio.sleep(max(0, began + number / rate - time.monotonic()))
    seconds = sorted(load.seconds)
    say(
        report={
            "asked": number - 1,
            "answered": len(seconds),
            "requests": load.requests,
            "failed": load.failed,
            "wrong": load.wrong,
            "median": round(seconds[len(seconds) // 2], 2),
            "slowest": round(seconds[-1], 2),
        }
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
