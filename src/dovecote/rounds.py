"""Rounds: the steps of an agent's loop, each one durable activity.

A round is one model call and the tool calls that it asks for, made at the same time. What the model said is
kept in the state store before anything is done with it, and a tool knows a call by its id: so a round that
was cut off and is done again calls the model no second time, and no effect takes place twice.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from typing import Any, Final, Literal

from pydantic import BaseModel, JsonValue

from dovecote.app import App
from dovecote.budget import Budget
from dovecote.errors import ModelUnavailableError, UnavailableError
from dovecote.messages import Message, MessageType, new_id, now
from dovecote.ports import ChatMessage, Completion, Usage, Write
from dovecote.prompts import fitted, prompt, shortened
from dovecote.reports import Reports
from dovecote.results import AgentResult, Source, Step, TaskEvent, cited, sources_in
from dovecote.singleflight import SingleFlight
from dovecote.toolbox import Toolbox, Use
from dovecote.tools import ToolOutcome

log = logging.getLogger(__name__)

_KEPT: Final = 7 * 24 * 3600


class Run(BaseModel):
    """Where the work on a task stands: what a round is given, and what it leaves to the next one.

    `answers` are what the tools said in the round before, by the model's call ids; `asked` counts the calls
    by name and arguments. `result` is there after the last round, `replied` if it was published too.
    """

    instance: str
    task: Message
    number: int = 0
    answers: list[tuple[str, str]] = []
    asked: dict[str, int] = {}
    steps: list[Step] = []
    sources: list[Source] = []
    result: AgentResult | None = None
    replied: bool = False

    @property
    def used(self) -> Usage:
        """What the task cost so far."""
        return sum((step.usage for step in self.steps), Usage())


class _Thought(BaseModel):
    """What came of one model call."""

    text: str
    uses: list[Use]
    step: Step


class _Acted(BaseModel):
    """What came of one tool call: the text for the model, and the sources found in it."""

    text: str
    sources: list[Source]
    step: Step


class Rounds:
    """The rounds of one agent."""

    def __init__(self, app: App, instructions: str, budget: Budget, toolbox: Toolbox, reports: Reports) -> None:
        self._app = app
        self._instructions = instructions
        self._budget = budget
        self._toolbox = toolbox
        self._reports = reports
        self._rounds: SingleFlight[JsonValue] = SingleFlight()

    async def round(self, data: Any) -> JsonValue:
        """Activity: think, then act or answer. A Run in, the next Run out, both as JSON.

        A new sidecar hands out again what the killed one had handed out, while the first try may still go on.
        """
        run = Run.model_validate(data)
        return await self._rounds.do(f"{run.instance}.{run.number}", lambda: self._at_work(run))

    async def _at_work(self, run: Run) -> JsonValue:
        with self._app.running.working():
            return await self._do(run)

    async def _do(self, run: Run) -> JsonValue:
        thought = await self._think(run)
        run.number += 1
        run.steps.append(thought.step)
        if thought.uses:
            await self._act(run, thought.uses)
        else:
            await self._answer(run, thought.text)
        # The request lies in the state store by now: history carries its envelope only.
        run.task = run.task.model_copy(update={"content": None})
        return run.model_dump(mode="json")

    async def reply(self, task: Message, content: JsonValue, kind: MessageType, *, again: bool = False) -> None:
        """Publish the answer to a task; its id follows from the task's, so that a repeated one is known.

        That the task is done is told once its answer is out, and no more when the answer is given `again`.
        """
        if task.reply_to:
            running = self._app.running
            await running.feed.flush()  # so that the steps are told before the answer
            answer = task.reply(content, sender=self._app.name, kind=kind)
            await running.ports.bus.publish(task.reply_to, answer)
        if not again:
            self._reports.tell(_ending(task, self._app.name, content, kind))

    async def _think(self, run: Run) -> _Thought:
        """One model call, kept in state before anything else: a repeated round finds it there."""
        state = self._app.running.ports.state
        keys = [f"conversation:{run.instance}:{number}" for number in range(run.number + 1)]
        records = await state.get_many(keys)
        if keys[-1] in records:
            return _Thought.model_validate(records[keys[-1]].value["thought"])
        fresh = self._fresh(run)
        earlier = [
            ChatMessage.model_validate(row)
            for key in keys[:-1]
            for row in (records[key].value["messages"] if key in records else [])
        ]
        self._tell(run, f"think.{run.number}", "started", f"{self._app.name} is thinking")
        completion, step = await self._complete(run, fitted([*earlier, *fresh], self._budget.context))
        thought = _Thought(text=completion.text, uses=await self._uses(run, completion), step=step)
        said = ChatMessage(role="assistant", content=completion.text, tool_calls=completion.tool_calls)
        record: JsonValue = {
            "messages": [message.model_dump(mode="json") for message in [*fresh, said]],
            "thought": thought.model_dump(mode="json"),
        }
        await state.write(Write(keys[-1], record, ttl=_KEPT))
        self._tell(run, f"think.{run.number}", "step", f"{self._app.name} thought", step)
        return thought

    def _fresh(self, run: Run) -> list[ChatMessage]:
        """What the model has not seen yet: at first the instructions and the request, then tool results."""
        if run.number == 0:
            return [
                ChatMessage(role="system", content=self._instructions),
                ChatMessage(role="user", content=prompt(run.task.content)),
            ]
        return [ChatMessage(role="tool", tool_call_id=call, content=text) for call, text in run.answers]

    async def _complete(self, run: Run, messages: list[ChatMessage]) -> tuple[Completion, Step]:
        began, clock = now(), time.perf_counter()
        specs = await self._toolbox.specs()
        try:
            completion = await self._app.running.ports.model.complete(messages, specs)
        except ModelUnavailableError as error:
            self._tell(run, f"think.{run.number}.{new_id()}", "progress", str(error))
            raise
        step = Step(
            agent=self._app.name,
            kind="model",
            name=f"model call {run.number + 1}",
            started=began,
            seconds=round(time.perf_counter() - clock, 4),
            usage=completion.usage,
        )
        return completion, step

    async def _uses(self, run: Run, completion: Completion) -> list[Use]:
        """The model's calls, each checked; ids are ours, since a model's need not be unique."""
        uses = []
        for index, call in enumerate(completion.tool_calls):
            use = await self._toolbox.check(call)
            uses.append(use.model_copy(update={"key": f"{run.instance}.{run.number}.{index}"}))
        return uses

    async def _act(self, run: Run, uses: list[Use]) -> None:
        """Make the calls that can be made; what cannot is told to the model as well."""
        run.asked = dict(Counter(run.asked) + Counter(f"{use.name} {use.arguments}" for use in uses))
        self._budget.check_repeats(self._app.name, run.asked)
        made = [use for use in uses if not use.error]
        acted = dict(
            zip((use.id for use in made), await asyncio.gather(*(self._call(run, u) for u in made)), strict=True)
        )
        run.steps += [row.step for row in acted.values()]
        run.sources += [source for row in acted.values() for source in row.sources]
        run.answers = [(use.id, acted[use.id].text if use.id in acted else use.error) for use in uses]

    async def _call(self, run: Run, use: Use) -> _Acted:
        """One tool call; the tool runs it once however often this round is tried."""
        arguments: JsonValue = use.arguments
        self._tell(run, use.key, "started", f"{self._app.name} calls {use.name}", arguments=arguments)
        began, clock = now(), time.perf_counter()
        outcome = await self._toolbox.call(use, run.task)
        step = Step(
            agent=self._app.name,
            kind="tool",
            name=use.name,
            started=began,
            seconds=round(time.perf_counter() - clock, 4),
            arguments=arguments,
            error=outcome.error.message if outcome.error else "",
        )
        self._tell(run, use.key, "step", f"{use.name} answered", step)
        self._reports.tell_result(use.app_id, _task_id(run.task), use.key, outcome)
        text = shortened(_told(outcome), self._budget.tool_result)
        return _Acted(text=text, sources=sources_in(outcome.result), step=step)

    async def _answer(self, run: Run, text: str) -> None:
        run.result = AgentResult(
            agent=self._app.name,
            text=text,
            sources=cited(text, run.sources),
            steps=run.steps,
            usage=run.used,
        )
        try:
            await self.reply(run.task, run.result.model_dump(mode="json"), MessageType.RESPONSE)
            run.replied = True
        except UnavailableError as error:
            # The answer is there, and must not be lost to a broker that is away: the workflow goes on trying.
            log.warning("the answer to %s could not be published yet: %s", run.task.id, error)

    def _tell(
        self,
        run: Run,
        key: str,
        kind: Literal["started", "step", "progress"],
        text: str,
        step: Step | None = None,
        **data: JsonValue,
    ) -> None:
        event = TaskEvent(
            id=f"{run.task.id}.{key}.{kind}",
            task_id=_task_id(run.task),
            kind=kind,
            agent=self._app.name,
            text=text,
            data={**data, **(step.model_dump(mode="json") if step else {})},
        )
        self._reports.tell(event)
        if run.task.conversation_id:
            self._app.running.feed.tell(event)


def _task_id(task: Message) -> str:
    """The task that the agent's own one belongs to; it may stand for itself."""
    return task.conversation_id or task.id


def _ending(task: Message, agent: str, content: JsonValue, kind: MessageType) -> TaskEvent:
    """The news that an agent is done with a task."""
    failed = kind is MessageType.ERROR
    return TaskEvent(
        id=f"{task.id}.{'failed' if failed else 'completed'}",
        task_id=_task_id(task),
        kind="failed" if failed else "completed",
        agent=agent,
        text=f"{agent} {'failed' if failed else 'answered'}",
        data=content if isinstance(content, dict) else {},
    )


def _told(outcome: ToolOutcome) -> str:
    """What the model reads of a tool's outcome."""
    if outcome.error:
        return json.dumps({"error": outcome.error.message}, ensure_ascii=False)
    return json.dumps(outcome.result, ensure_ascii=False)
