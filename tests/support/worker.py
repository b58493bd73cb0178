"""Worker: takes tasks and calls, each of which takes a while. A task that is done is a file, `<task>.<times>`.

How often it was done is counted with the record of it in one write: a record of its own would say that a task is
done where its sidecar wrote that and ended before it told the app.
"""

import asyncio
import os
from pathlib import Path

from dovecote import App, Message, topics
from dovecote.effects import Effects, RepeatedCallError
from dovecote.errors import UnavailableError

worker = App("worker")


@worker.subscribe(topics.inbox("worker"))
async def work(task: Message) -> None:
    """Do a task; one that was done already stays as it is."""
    await _while()
    _note(f"{task.id}.{await _times_done(task)}")


@worker.router.post("/calls/{number}")
async def call(number: int) -> int:
    """Answer a call with its number."""
    await _while()
    return number


async def _while() -> None:
    await asyncio.sleep(float(os.environ["WORKER_SECONDS"]))


def _note(name: str) -> None:
    Path(os.environ["WORKER_DONE"], name).touch()


async def _times_done(task: Message) -> int:
    effects = Effects(worker.running.ports.state, task.id)
    try:
        times = int(await effects.get(task.id, 0)) + 1
        effects.put(task.id, times)
        written = await effects.settle(times, failed=False)
    except RepeatedCallError as done:
        return int(str(done.outcome))
    if not written:
        raise UnavailableError(f"task {task.id!r} is being done by another replica")
    return times


app = worker.asgi
