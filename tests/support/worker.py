"""Worker: takes tasks and calls, each of which takes a while. A task that is done is a file, which is made once.

The effect is one atomic step on purpose: a record in the state store beside it would say that a task is done
where its sidecar wrote that and ended before it told the app.
"""

import asyncio
import os
from pathlib import Path

from dovecote import App, Message, topics

worker = App("worker")


@worker.subscribe(topics.inbox("worker"))
async def work(task: Message) -> None:
    """Do a task; one that was done already stays as it is."""
    await _while()
    _finish(task.id)


@worker.router.post("/calls/{number}")
async def call(number: int) -> int:
    """Answer a call with its number."""
    await _while()
    return number


async def _while() -> None:
    await asyncio.sleep(float(os.environ["WORKER_SECONDS"]))


def _finish(task_id: str) -> None:
    Path(os.environ["WORKER_DONE"], task_id).touch()


app = worker.asgi
