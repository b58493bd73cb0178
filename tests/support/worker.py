"""Worker: takes tasks and calls, each of which takes a while, and writes the id of each task into a file, once."""

import asyncio
import os
from pathlib import Path

from dovecote import App, Message, Write, topics
from dovecote.errors import ConflictError

worker = App("worker")


@worker.subscribe(topics.inbox("worker"))
async def work(task: Message) -> None:
    """Do a task; one that was done already is not done again."""
    await _while()
    try:
        await worker.running.ports.state.write(Write(f"done:{task.id}", value=True, create=True))
    except ConflictError:
        return
    _note(task.id)


@worker.router.post("/calls/{number}")
async def call(number: int) -> int:
    """Answer a call with its number."""
    await _while()
    return number


async def _while() -> None:
    await asyncio.sleep(float(os.environ["WORKER_SECONDS"]))


def _note(task_id: str) -> None:
    with Path(os.environ["WORKER_FILE"]).open("a") as file:
        file.write(f"{task_id}\n")


app = worker.asgi
