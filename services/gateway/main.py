"""Gateway: the public door. Takes questions, tells how they fare, and hands out the answers."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import JsonValue

from dovecote import App, TaskResult
from dovecote.errors import TooLargeError
from dovecote.messages import new_id
from services.contracts.tasks import Question
from services.gateway import deadletters, external
from services.gateway.orchestrator import ask_orchestrator
from services.gateway.stream import follow

gateway = App("gateway")
external.ExternalTools(gateway)
gateway.router.include_router(deadletters.router(gateway))


class Ask(Question):
    """A question, and the folder of documents that it is about (the default one if none is named)."""

    docs: str = ""


@gateway.public.post("/tasks", status_code=202)
async def ask(ask: Ask) -> JsonValue:
    """Start a task; the answer has its id."""
    limit = gateway.running.settings.max_question
    if len(ask.question) > limit:
        raise TooLargeError(
            f"the question has {len(ask.question)} characters; {limit} are taken", mend="ask a shorter one"
        )
    metadata: dict[str, JsonValue] = {"docs": ask.docs} if ask.docs else {}
    task: JsonValue = {"id": new_id(), "content": {"question": ask.question}, "metadata": metadata}
    return await ask_orchestrator(gateway, "tasks", task)


@gateway.public.get("/tasks/{task_id}")
async def status(task_id: str) -> TaskResult:
    """Where a task stands, and its answer once it is there."""
    return TaskResult.model_validate(await ask_orchestrator(gateway, f"tasks/{task_id}", verb="GET"))


@gateway.public.get("/tasks/{task_id}/events", response_class=EventSourceResponse)
async def events(
    task: Annotated[TaskResult, Depends(status)], last_event_id: Annotated[int, Header()] = 0
) -> AsyncIterator[ServerSentEvent]:
    """What happens to a task, as it happens, as server-sent events; `result` is the last one."""
    async for event in follow(gateway, task.task_id, last_event_id):
        yield event


@gateway.public.get("/agents")
async def agents() -> JsonValue:
    """Every app that ever announced itself: whether it is online, and its replicas that run now."""
    return await gateway.running.ports.invoke("directory", "presence", verb="GET")


app = gateway.asgi
