"""Recorder: keeps every step of every task, every dead letter with its reasons, last values, and events."""

from dovecote import App, Message, TaskEvent, topics
from dovecote.errors import NotFoundError
from dovecote.values import Value, kept
from services.recorder import letters_api
from services.recorder.deadletters import DeadLetters
from services.recorder.eventlog import EventLog
from services.recorder.journal import Journal
from services.recorder.lastvalues import LastValues
from services.recorder.resubmissions import Resubmissions

recorder = App("recorder")
journal = Journal(recorder)
letters = DeadLetters(recorder)
values = LastValues(recorder)
recorder.router.include_router(letters_api.router(letters, Resubmissions(recorder, letters)))
log = EventLog(recorder)


@recorder.subscribe(topics.TASK_EVENTS, dead_letter=False)
async def keep_event(message: Message) -> None:
    """An event of a task."""
    event = TaskEvent.model_validate(message.content)
    await journal.append(event)
    await log.append_milestone(event)


@recorder.subscribe(topics.DEAD_LETTERS, dead_letter=False, raw=True)
async def keep_dead_letter(message: Message) -> None:
    """A message that a consumer gave up."""
    await letters.take_message(message)


@recorder.subscribe(topics.FAILURES, dead_letter=False)
async def keep_reason(message: Message) -> None:
    """Why an attempt at a message failed."""
    await letters.take_reason(message)


@recorder.subscribe(topics.VALUES)
async def keep_value(message: Message) -> None:
    """What was said last on a topic that is retained."""
    await values.keep(kept(message))


@recorder.router.get("/tasks/{task_id}/events")
async def events(task_id: str, after: int = 0, wait: float = 0) -> list[TaskEvent]:
    """Events of a task after the first `after`, waiting up to `wait` seconds for one."""
    return await journal.after(task_id, after, min(wait, 30))


@recorder.router.get("/values/{topic:path}")
async def last_value(topic: str) -> Value:
    """What was said last on a topic, until it is cleared by a message without content."""
    value = await values.last(topic)
    if value is None:
        raise NotFoundError(f"topic {topic!r} has no last value")
    return value


app = recorder.asgi
