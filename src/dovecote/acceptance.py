"""Acceptance: a task is taken once, and whoever sends it again hears where it stands."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pydantic import JsonValue
from pydantic_core import to_json

from dovecote.errors import DovecoteError, NotBegunError, TooLargeError, UnavailableError
from dovecote.messages import Message
from dovecote.ports import Ports, Retry, WorkflowStatus
from dovecote.results import refusal

if TYPE_CHECKING:
    from dovecote.app import Running

log = logging.getLogger(__name__)

LARGEST: Final = 1 << 20
"""Bytes of a task that is taken.

Each step of its workflow may have it again, and all steps together go to the worker in one message, of which the
sidecar takes 16 MiB.
"""
TELL: Final = Retry.lasting(3600, longest=30)
"""How long an outcome is tried to be told: it outlives a broker that is away."""
_MODEL_WAIT: Final = 60.0  # seconds; of a task that a version accepted which did not say


async def accept(
    running: "Running", workflow: str, task: Message, *, at_once: bool = False, **more: JsonValue
) -> WorkflowStatus | None:
    """Start the task's workflow, whose instance id is the task's; None if it is new or under way.

    The workflow is given the task, and beside its fields `model_wait` and `more`: what it must know of settings is
    there, since a workflow that goes on after a restart is to decide as before.
    A task that comes again while the work on it goes on is one whose sender does not know: it is told, on
    `reply_to`, that the app has it; with `at_once` also when it comes first, as soon as its workflow is there.
    Of one that has ended the status is returned, for its answer to be given again. Raises TooLargeError for a new
    one of more bytes than LARGEST, whose sender is told, and NotBegunError while it cannot be accepted.
    """
    ports, taker = running.ports, running.registration.app_id
    data = task.model_dump(mode="json") | {"model_wait": running.settings.model_wait} | more
    try:
        await _require_room(ports, task, len(to_json(data)), taker)
        new = await ports.workflows.schedule(workflow, data, instance_id=task.id)
        known = None if new else await ports.workflows.status(task.id)
    except UnavailableError as error:
        raise NotBegunError(f"task {task.id!r} is not accepted yet: {error}") from error
    if known is not None and known.status != "running":
        return known
    if task.reply_to and (at_once or not new):
        try:
            await ports.bus.publish(task.reply_to, task.accepted(sender=taker))
        except DovecoteError as error:
            # It is accepted all the same, and who does not hear of it sends it again.
            log.warning("%r could not be told that task %r is accepted: %s", task.sender, task.id, error)
    return None


def patience_of(data: Mapping[str, Any]) -> Retry:
    """How long a workflow goes on trying a step: as the settings said when its task was accepted (`model_wait`)."""
    return Retry.lasting(data.get("model_wait", _MODEL_WAIT))


async def _require_room(ports: Ports, task: Message, size: int, taker: str) -> None:
    # A version before this one took larger ones.
    if size <= LARGEST or await ports.workflows.status(task.id) is not None:
        return
    error = TooLargeError(
        f"task {task.id!r} from {task.sender!r} has {size:,} bytes; {taker!r} takes {LARGEST:,}",
        mend="keep the content elsewhere, and send where it is",
    )
    if task.reply_to:
        await ports.bus.publish(task.reply_to, refusal(task, error, sender=taker))
    raise error
