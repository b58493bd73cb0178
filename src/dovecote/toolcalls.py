"""Calls of a tool over the broker, by any client of it: plain JSON in, plain JSON out.

A call comes on `tools/<name>/call/<task>` and is answered on `tools/<name>/response/<task>`, as Argentic's
messaging document has it; where the broker has no wildcards, on `tools/<name>/call` and `tools/<name>/response`,
for all tasks. The work is a workflow whose id is the task's: a call is made once, and its answer outlives a
restart.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from dovecote import topics
from dovecote.acceptance import TELL, accept, patience_of
from dovecote.app import App
from dovecote.errors import DovecoteError, InvalidInputError
from dovecote.messages import NAMELESS, Message, MessageType, new_id
from dovecote.ports import Steps, WorkflowContext
from dovecote.problems import faults
from dovecote.results import Failure

WORKFLOW: Final = "tool"


class BrokeredCall(BaseModel):
    """A call as a client writes it: the same `task_id` is the same call.

    `function` may be left out where the tool has one only.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)

    task_id: str = Field("", max_length=100)
    function: str = ""
    arguments: dict[str, Any] = {}


class BrokeredCalls:
    """Takes a tool's calls from the broker. `run` makes one, and returns its outcome as JSON."""

    def __init__(self, app: App, run: Callable[[BrokeredCall], Awaitable[dict[str, JsonValue]]]) -> None:
        self._app = app
        self._run = run
        app.workflows[WORKFLOW] = self._follow
        app.activities |= {"call": self._call, "answer": self._answer}
        app.subscribe(topics.tool_tasks(app.name), default_type=MessageType.TASK, raw=True)(self.take)

    async def take(self, message: Message) -> None:
        """Start the workflow of a call, or answer again if it is done already; InvalidInputError if it is none."""
        try:
            call = BrokeredCall.model_validate(message.content)
        except ValidationError as error:
            raise InvalidInputError(
                f"the call of {self._app.name!r} does not fit: {faults(error.errors())}"
            ) from error
        # Who asks the same again, and names no task, wants it done again.
        task_id = call.task_id or (new_id() if message.id.startswith(NAMELESS) else message.id)
        call = call.model_copy(update={"task_id": task_id})
        task: JsonValue = call.model_dump(mode="json")
        kept = message.model_copy(update={"id": task_id, "content": task, "reply_to": None})
        ended = await accept(self._app.running, WORKFLOW, kept)
        if ended is not None:
            # One that failed could not publish its answer; the outcome of the call is kept.
            await self._answer(ended.output or {"task_id": task_id, **await self._run(call)})

    def _follow(self, context: WorkflowContext, data: Any) -> Steps:
        task = data["content"]
        outcome: JsonValue
        try:
            outcome = yield context.call_activity("call", task, patience_of(data))
        except DovecoteError as error:
            outcome = {"result": None, "error": Failure.of(error).model_dump(mode="json")}
        answer: JsonValue = {"task_id": task["task_id"], **(outcome if isinstance(outcome, dict) else {})}
        yield context.call_activity("answer", answer, TELL)
        return answer

    async def _call(self, data: Any) -> JsonValue:
        """Activity: make the call."""
        return await self._run(BrokeredCall.model_validate(data))

    async def _answer(self, answer: Any) -> JsonValue:
        """Activity: publish what came of a call."""
        topic = topics.tool_response(self._app.name, answer["task_id"])
        await self._app.running.ports.bus.publish_content(topic, answer)
        return None
