"""Acceptance: a task is taken once, and whoever sends it again hears where it stands."""

from typing import Final

from pydantic import JsonValue
from pydantic_core import to_json

from dovecote.errors import TooLargeError
from dovecote.messages import Message
from dovecote.ports import Ports, WorkflowStatus
from dovecote.results import refusal

LARGEST: Final = 1 << 20
"""Bytes of a task that is taken.

Each step of its workflow may have it again, and all steps together go to the worker in one message, of which the
sidecar takes 16 MiB.
"""


async def accept(
    ports: Ports, workflow: str, task: Message, *, taker: str, at_once: bool = False, **more: JsonValue
) -> WorkflowStatus | None:
    """Start the task's workflow, whose instance id is the task's; None if it is new or under way.

    The workflow is given the task, and `more` beside its fields.
    A task that comes again while the work on it goes on is one whose sender does not know: it is told, on
    `reply_to`, that `taker` has it; with `at_once` also when it comes first, as soon as its workflow is there.
    Of one that has ended the status is returned, for its answer to be given again. Raises TooLargeError for one of
    more bytes than LARGEST; who waits for its answer is told.
    """
    data = task.model_dump(mode="json") | more
    if (size := len(to_json(data))) > LARGEST:
        error = TooLargeError(
            f"task {task.id!r} from {task.sender!r} has {size:,} bytes; {taker!r} takes {LARGEST:,}",
            mend="keep the content elsewhere, and send where it is",
        )
        if task.reply_to:
            await ports.bus.publish(task.reply_to, refusal(task, error, sender=taker))
        raise error
    new = await ports.workflows.schedule(workflow, data, instance_id=task.id)
    if not new:
        known = await ports.workflows.status(task.id)
        if known is not None and known.status != "running":
            return known
    if task.reply_to and (at_once or not new):
        await ports.bus.publish(task.reply_to, task.accepted(sender=taker))
    return None
