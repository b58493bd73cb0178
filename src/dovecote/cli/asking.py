"""Asking: a question goes to the gateway, its steps are shown as they happen, then its answer."""

import asyncio
import sys
from contextlib import aclosing
from dataclasses import dataclass

from rich.console import Console

from dovecote.cli.errors import CommandError
from dovecote.cli.gateway import Gateway
from dovecote.cli.rendering import Story, show_answer
from dovecote.results import TaskResult


@dataclass(frozen=True)
class Inquiry:
    """What to ask, or the task that is asked already, and for how long (seconds) to wait for the answer."""

    question: str = ""
    docs: str | None = None
    task_id: str = ""
    timeout: float = 600.0


def answer(url: str, inquiry: Inquiry, *, as_json: bool = False) -> None:
    """Print the answer of the system whose gateway is at `url`; with `as_json` only the TaskResult as JSON.

    Steps go to the error stream, the answer to the output. Raises CommandError if the task failed or its answer
    did not come in time, NotRunningError if there is no system.
    """
    result = asyncio.run(_follow(url, inquiry, Story(Console(stderr=True, quiet=as_json))))
    if as_json:
        sys.stdout.write(result.model_dump_json(indent=2) + "\n")
    if result.error:
        raise CommandError(f"{result.error.type}: {result.error.message}", mend=result.error.mend)
    if not as_json:
        show_answer(Console(), result)


async def _follow(url: str, inquiry: Inquiry, story: Story) -> TaskResult:
    async with Gateway(url) as gateway:
        task_id = inquiry.task_id or await gateway.ask(inquiry.question, inquiry.docs)
        goes_on = f"the task goes on; wait for it: dovecote ask --task {task_id}"
        try:
            following = gateway.follow(task_id, lambda why: story.note(f"{why}; trying again"))
            async with asyncio.timeout(inquiry.timeout), aclosing(following) as events:
                async for event in events:
                    if isinstance(event, TaskResult):
                        return event
                    story.tell(event)
        except TimeoutError as error:
            raise CommandError(f"no answer within {inquiry.timeout:g} s", mend=goes_on) from error
        except asyncio.CancelledError:
            story.note(f"Interrupted; {goes_on}")
            raise
        finally:
            story.end()
    raise AssertionError("the stream ends with a result or an error")
