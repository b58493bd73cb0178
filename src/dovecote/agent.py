"""Agents: a durable loop of think, act, think … until the model answers.

A delivered task starts a workflow whose instance id is the message's id, so a repeated delivery is the same
run. Each model call and each tool call is an activity: done again only if it was cut off before its result
was kept. The conversation with the model lies in the state store, one record per model call.
"""

import inspect
import json
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel, JsonValue

from dovecote import topics
from dovecote.app import App
from dovecote.conversation import fitted, prompt, shortened
from dovecote.errors import BudgetError, DovecoteError, InvalidInputError, ModelUnavailableError
from dovecote.messages import Message, MessageType, new_id, now
from dovecote.ports import ChatMessage, Completion, Retry, Steps, Usage, WorkflowContext, Write
from dovecote.results import AgentResult, Failure, Source, Step, TaskEvent, cited, sources_in
from dovecote.toolbox import Toolbox, Use
from dovecote.tools import ToolOutcome

WORKFLOW: Final = "agent"
TOOL_RETRY: Final = Retry.lasting(30, longest=5)
REPLY_RETRY: Final = Retry.lasting(240)
_KEPT: Final = 7 * 24 * 3600


class Budget(BaseModel):
    """What one task may use. `seconds` is wall time; `context` is in characters of conversation."""

    steps: int = 12
    model_calls: int = 12
    tokens: int = 200_000
    seconds: float = 600.0
    repeats: int = 3
    context: int = 200_000
    tool_result: int = 24_000


class Thought(BaseModel):
    """What came of one model call."""

    text: str
    uses: list[Use]
    step: Step


class Acted(BaseModel):
    """What came of one tool call: the text for the model, and the sources found in it."""

    call_id: str
    text: str
    sources: list[Source]
    step: Step


class _Think(BaseModel):
    instance: str
    number: int
    task: Message
    answers: list[tuple[str, str]] = []


class _Act(BaseModel):
    use: Use
    task: Message


class Agent:
    """An agent service: a name, instructions for the model, and the tools that it uses.

    `uses` are app-ids or capabilities of tools; `capabilities` are what others find this agent by.
    """

    def __init__(
        self,
        name: str,
        *,
        instructions: str,
        uses: Sequence[str] = (),
        capabilities: Sequence[str] = (),
        budget: Budget | None = None,
    ) -> None:
        caller = inspect.stack()[1].frame.f_globals
        description = (caller.get("__doc__") or "").strip()
        self.name = name
        self.instructions = instructions
        self.budget = budget or Budget()
        self._app = App(name, kind="agent", capabilities=capabilities, description=description)
        self._toolbox = Toolbox(self._app, uses)
        self._app.workflows[WORKFLOW] = self._loop
        self._app.activities["think"] = self._think
        self._app.activities["act"] = self._act
        self._app.activities["reply"] = self._reply
        self._app.subscribe(topics.inbox(name), default_type=MessageType.TASK)(self.accept)

    @property
    def app(self) -> FastAPI:
        """The app to serve."""
        return self._app.asgi

    async def accept(self, task: Message) -> None:
        """Take a task: start its workflow, or answer again if it is done already."""
        workflows = self._app.running.ports.workflows
        if prompt(task.content).strip() == "":
            raise InvalidInputError(f"task {task.id!r} from {task.sender!r} has no content")
        data = task.model_dump(mode="json")
        if not await workflows.schedule(WORKFLOW, data, instance_id=task.id):
            known = await workflows.status(task.id)
            if known is not None and known.status != "running" and known.output is not None:
                await self._reply({"task": data, "reply": known.output})

    def _loop(self, context: WorkflowContext, data: Any) -> Steps:
        task = Message.model_validate(data)
        reply: dict[str, JsonValue]
        try:
            result = yield from self._answer(context, task)
            reply = {"result": result.model_dump(mode="json")}
        except DovecoteError as error:
            failure = Failure(type=type(error).__name__, message=str(error), mend=error.mend)
            reply = {"error": failure.model_dump(mode="json")}
        if task.reply_to:
            envelope = task.model_copy(update={"content": None}).model_dump(mode="json")
            yield context.call_activity("reply", {"task": envelope, "reply": reply}, REPLY_RETRY)
        return reply

    def _answer(self, context: WorkflowContext, task: Message) -> Any:
        """The loop itself; a generator of workflow tasks that returns an AgentResult."""
        began = context.current_utc_datetime
        # A model that is away for a while does not fail a task; one that refuses does so at once.
        patience = Retry.lasting(self._app.running.settings.model_wait)
        steps: list[Step] = []
        sources: list[Source] = []
        answers: list[tuple[str, str]] = []
        seen: Counter[str] = Counter()
        # The request itself lies in the state store after the first step; history carries its envelope only.
        envelope = task.model_copy(update={"content": None})
        for number in range(self.budget.steps):
            self._check(steps, began, context.current_utc_datetime)
            asked = envelope if number else task
            think = _Think(instance=context.instance_id, number=number, task=asked, answers=answers)
            thought = Thought.model_validate(
                (yield context.call_activity("think", think.model_dump(mode="json"), patience))
            )
            steps.append(thought.step)
            if not thought.uses:
                return AgentResult(
                    agent=self.name,
                    text=thought.text,
                    sources=cited(thought.text, sources),
                    steps=steps,
                    usage=_total(steps),
                )
            seen.update(f"{use.name} {use.arguments}" for use in thought.uses)
            self._check_repeats(seen)
            acts = [
                context.call_activity("act", _Act(use=use, task=envelope).model_dump(mode="json"), TOOL_RETRY)
                for use in thought.uses
                if not use.error
            ]
            acted = [Acted.model_validate(row) for row in ((yield context.when_all(acts)) if acts else [])]
            steps += [row.step for row in acted]
            sources += [source for row in acted for source in row.sources]
            texts = {row.call_id: row.text for row in acted}
            answers = [(use.id, texts.get(use.id, use.error)) for use in thought.uses]
        raise BudgetError(
            f"agent {self.name!r} took {self.budget.steps} steps without an answer",
            mend="raise its budget.steps",
        )

    def _check(self, steps: list[Step], began: datetime, at: datetime) -> None:
        used = _total(steps)
        seconds = (at - began).total_seconds()
        for what, spent, limit in (
            ("model_calls", used.model_calls, self.budget.model_calls),
            ("tokens", used.tokens, self.budget.tokens),
            ("seconds", seconds, self.budget.seconds),
        ):
            if spent >= limit:
                raise BudgetError(
                    f"agent {self.name!r} used {spent:g} of {limit:g} {what} without an answer",
                    mend=f"raise its budget.{what}",
                )

    def _check_repeats(self, seen: Counter[str]) -> None:
        call, times = seen.most_common(1)[0]
        if times >= self.budget.repeats:
            raise BudgetError(
                f"agent {self.name!r} goes in circles: its model asked {times} times for {call}",
                mend="give it clearer instructions or a better tool",
            )

    async def _think(self, data: Any) -> JsonValue:
        """One model call, kept in state before it is told: a repeated activity finds it there."""
        think = _Think.model_validate(data)
        ports = self._app.running.ports
        keys = [f"conversation:{think.instance}:{number}" for number in range(think.number + 1)]
        records = await ports.state.get_many(keys)
        if keys[-1] in records:
            kept: JsonValue = records[keys[-1]].value["thought"]
            return kept
        fresh = self._fresh(think)
        earlier = [
            ChatMessage.model_validate(row)
            for key in keys[:-1]
            for row in (records[key].value["messages"] if key in records else [])
        ]
        self._tell(think.task, f"think.{think.number}", "started", f"{self.name} is thinking")
        began, clock = now(), time.perf_counter()
        specs = await self._toolbox.specs()
        try:
            completion = await ports.model.complete(fitted([*earlier, *fresh], self.budget.context), specs)
        except ModelUnavailableError as error:
            self._tell(think.task, f"think.{think.number}.{new_id()}", "progress", str(error))
            raise
        step = Step(
            agent=self.name,
            kind="model",
            name=f"model call {think.number + 1}",
            started=began,
            seconds=round(time.perf_counter() - clock, 4),
            usage=completion.usage,
        )
        thought = Thought(text=completion.text, uses=await self._uses(think, completion), step=step)
        said = ChatMessage(role="assistant", content=completion.text, tool_calls=completion.tool_calls)
        record: JsonValue = {
            "messages": [message.model_dump(mode="json") for message in [*fresh, said]],
            "thought": thought.model_dump(mode="json"),
        }
        await ports.state.write(Write(keys[-1], record, ttl=_KEPT))
        self._tell(think.task, f"think.{think.number}", "step", f"{self.name} thought", step)
        return thought.model_dump(mode="json")

    def _fresh(self, think: _Think) -> list[ChatMessage]:
        """What the model has not seen yet: at first the instructions and the request, then tool results."""
        if think.number == 0:
            return [
                ChatMessage(role="system", content=self.instructions),
                ChatMessage(role="user", content=prompt(think.task.content)),
            ]
        return [ChatMessage(role="tool", tool_call_id=call, content=text) for call, text in think.answers]

    async def _uses(self, think: _Think, completion: Completion) -> list[Use]:
        """The model's calls, each checked; ids are ours, since a model's need not be unique."""
        uses = []
        for index, call in enumerate(completion.tool_calls):
            use = await self._toolbox.check(call)
            key = f"{think.instance}.{think.number}.{index}"
            uses.append(use.model_copy(update={"key": key}))
        return uses

    async def _act(self, data: Any) -> JsonValue:
        """One tool call; the tool runs it once however often this activity is tried."""
        act = _Act.model_validate(data)
        use = act.use
        self._tell(act.task, use.key, "started", f"{self.name} calls {use.name}", arguments=use.arguments)
        began, clock = now(), time.perf_counter()
        outcome = await self._toolbox.call(use, act.task)
        step = Step(
            agent=self.name,
            kind="tool",
            name=use.name,
            started=began,
            seconds=round(time.perf_counter() - clock, 4),
            arguments=use.arguments,
            error=outcome.error.message if outcome.error else "",
        )
        self._tell(act.task, use.key, "step", f"{use.name} answered", step)
        return Acted(
            call_id=use.id,
            text=shortened(_told(outcome), self.budget.tool_result),
            sources=sources_in(outcome.result),
            step=step,
        ).model_dump(mode="json")

    async def _reply(self, data: Any) -> JsonValue:
        """Publish the answer; its id follows from the task's, so that a repeated one is known."""
        task = Message.model_validate(data["task"])
        reply = data["reply"]
        kind = MessageType.ERROR if "error" in reply else MessageType.RESPONSE
        content = reply.get("error") or reply.get("result")
        if task.reply_to:
            running = self._app.running
            await running.feed.flush()  # so that the steps are told before the answer
            answer = task.reply(content, sender=self.name, kind=kind)
            await running.ports.bus.publish(task.reply_to, answer)
        return None

    def _tell(self, task: Message, key: str, kind: Any, text: str, step: Step | None = None, **data: Any) -> None:
        if task.conversation_id:
            event = TaskEvent(
                id=f"{task.id}.{key}.{kind}",
                task_id=task.conversation_id,
                kind=kind,
                agent=self.name,
                text=text,
                data={**data, **(step.model_dump(mode="json") if step else {})},
            )
            self._app.running.feed.tell(event)


def _told(outcome: ToolOutcome) -> str:
    """What the model reads of a tool's outcome."""
    if outcome.error:
        return json.dumps({"error": outcome.error.message}, ensure_ascii=False)
    return json.dumps(outcome.result, ensure_ascii=False)


def _total(steps: Sequence[Step]) -> Usage:
    return sum((step.usage for step in steps), Usage())
