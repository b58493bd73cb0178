"""Acceptance: a task is taken once, and whoever sends it again hears where it stands."""

from pydantic import JsonValue

from dovecote.messages import Message
from dovecote.ports import Ports, WorkflowStatus


async def accept(
    ports: Ports, workflow: str, task: Message, *, taker: str, at_once: bool = False, **more: JsonValue
) -> WorkflowStatus | None:
    """Start the task's workflow, whose instance id is the task's; None if it is new or under way.

    The workflow is given the task, and `more` beside its fields.
    A task that comes again while the work on it goes on is one whose sender does not know: it is told, on
    `reply_to`, that `taker` has it; with `at_once` also when it comes first, as soon as its workflow is there.
    Of one that has ended the status is returned, for its answer to be given again.
    """
    new = await ports.workflows.schedule(workflow, task.model_dump(mode="json") | more, instance_id=task.id)
    if not new:
        known = await ports.workflows.status(task.id)
        if known is not None and known.status != "running":
            return known
    if task.reply_to and (at_once or not new):
        await ports.bus.publish(task.reply_to, task.accepted(sender=taker))
    return None
