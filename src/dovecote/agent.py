"""Agents: a durable loop of think, act, think … until the model answers.

A delivered task starts a workflow whose instance id is the message's id, so a repeated delivery is the same
run. Each round of the loop is an activity (dovecote.rounds).
"""

import inspect
from collections.abc import Sequence
from typing import Any, Final

from fastapi import FastAPI
from pydantic import JsonValue

from dovecote import topics
from dovecote.acceptance import TELL, accept, patience_of
from dovecote.app import App
from dovecote.budget import Budget
from dovecote.errors import DovecoteError, InvalidInputError, Reject
from dovecote.messages import Message, MessageType
from dovecote.ports import Steps, WorkflowContext
from dovecote.prompts import prompt
from dovecote.reports import Preset, Reports
from dovecote.results import Failure
from dovecote.rounds import Rounds, Run
from dovecote.toolbox import Toolbox

WORKFLOW: Final = "agent"


class Agent:
    """An agent service: a name, instructions for the model, and the tools that it uses.

    `uses` are app-ids or capabilities of tools; `capabilities` are what others find this agent by. `preset` and the
    flags after it say what it publishes (dovecote.reports); what is not given is read from the environment.
    """

    def __init__(  # noqa: PLR0913 - each is one thing that an author may say of an agent
        self,
        name: str,
        *,
        instructions: str,
        uses: Sequence[str] = (),
        capabilities: Sequence[str] = (),
        budget: Budget | None = None,
        preset: Preset | None = None,
        publish_to_supervisor: bool | None = None,
        publish_to_agent_topic: bool | None = None,
        enable_tool_result_publishing: bool | None = None,
    ) -> None:
        caller = inspect.stack()[1].frame.f_globals
        description = (caller.get("__doc__") or "").strip()
        self.name = name
        self.instructions = instructions
        self.budget = budget or Budget()
        self._app = App(name, kind="agent", capabilities=capabilities, description=description)
        given = {
            "publish_to_supervisor": publish_to_supervisor,
            "publish_to_agent_topic": publish_to_agent_topic,
            "enable_tool_result_publishing": enable_tool_result_publishing,
        }
        self._reports = Reports(self._app, preset, given)
        self._rounds = Rounds(self._app, instructions, self.budget, Toolbox(self._app, uses), self._reports)
        self._app.workflows[WORKFLOW] = self._loop
        self._app.activities["round"] = self._rounds.round
        self._app.activities["reply"] = self._reply
        self._app.subscribe(topics.inbox(name), default_type=MessageType.TASK)(self.accept)

    @property
    def app(self) -> FastAPI:
        """The app to serve."""
        return self._app.asgi

    async def accept(self, task: Message) -> None:
        """Take a task: start its workflow, or answer again if it is done already."""
        if prompt(task.content).strip() == "":
            raise InvalidInputError(f"task {task.id!r} from {task.sender!r} has no content")
        if task.reply_to and not self._reports.flags.publish_to_supervisor:
            raise Reject(
                f"task {task.id!r} from {task.sender!r} wants an answer, and agent {self.name!r} answers nobody",
                mend="set publish_to_supervisor, or send the task without reply_to",
            )
        ended = await accept(self._app.running, WORKFLOW, task)
        if ended is not None:
            failure = Failure(type=ended.error_type, message=ended.error).model_dump(mode="json")
            outcome = {"error": failure} if ended.status == "failed" else ended.output
            await self._answer(task, outcome, again=True)

    def _loop(self, context: WorkflowContext, data: Any) -> Steps:
        task = Message.model_validate(data)
        began = context.current_utc_datetime
        # A model or a tool that is away for a while does not fail a task; a model that refuses does so at once.
        patience = patience_of(data)
        run = Run(instance=context.instance_id, task=task)
        outcome: dict[str, JsonValue]
        try:
            while run.result is None:
                seconds = (context.current_utc_datetime - began).total_seconds()
                self.budget.check(self.name, run.number, run.used, seconds)
                step = yield context.call_activity("round", run.model_dump(mode="json"), patience)
                run = Run.model_validate(step)
            outcome = {"result": run.result.model_dump(mode="json")}
        except DovecoteError as error:
            failure = Failure.of(error)
            outcome = {"error": failure.model_dump(mode="json")}
        if not run.replied and (task.reply_to or "error" in outcome):
            envelope = task.model_copy(update={"content": None}).model_dump(mode="json")
            yield context.call_activity("reply", {"task": envelope, "outcome": outcome}, TELL)
        return outcome

    async def _reply(self, data: Any) -> JsonValue:
        """Activity: publish the outcome of a task."""
        await self._answer(Message.model_validate(data["task"]), data["outcome"])
        return None

    async def _answer(self, task: Message, outcome: Any, *, again: bool = False) -> None:
        kind = MessageType.ERROR if "error" in outcome else MessageType.RESPONSE
        await self._rounds.reply(task, outcome.get("error") or outcome.get("result"), kind, again=again)
