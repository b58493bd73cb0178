"""Orchestrators: services that take tasks, and follow a plan for each as a durable workflow."""

from collections.abc import Callable
from typing import Any, Final, Literal

from fastapi import FastAPI
from pydantic import BaseModel, JsonValue, ValidationError

from dovecote import topics
from dovecote.acceptance import TELL, accept
from dovecote.app import App
from dovecote.asking import Patience
from dovecote.delivery import bury
from dovecote.errors import (
    AgentUnavailableError,
    ConfigurationError,
    DovecoteError,
    InvalidInputError,
    NotFoundError,
)
from dovecote.messages import NAMELESS, Message, MessageType, new_id
from dovecote.plan import Execution, Plan
from dovecote.ports import Steps, Usage, WorkflowContext, WorkflowStatus
from dovecote.problems import faults
from dovecote.results import Failure, TaskEvent, TaskResult
from dovecote.tools import ToolRequest, call_tool

PLAN: Final = "plan"


class NewTask(BaseModel):
    """A task to start: its content, and what goes with it. The same `id` starts the same task once."""

    id: str = ""
    content: dict[str, Any]
    metadata: dict[str, str] = {}


class Orchestrator:
    """An orchestrator service: a name, and the plan that it follows for each task.

    Tasks come over HTTP (`POST /tasks`) or as messages on `agent/query/ask`, whose answers go to
    `agent/query/response`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._app = App(name)
        self._plan: Plan | None = None
        self._content: type[BaseModel] | None = None
        self._app.workflows[PLAN] = self._follow
        self._app.activities |= {"find": self.find, "send": self.send, "call": self.call}
        self._app.activities |= {"give_up": self.give_up, "finish": self.finish}
        self._app.subscribe(topics.inbox(name))(self.take_reply)
        self._app.subscribe(topics.QUERY_ASK, default_type=MessageType.QUERY, raw=True)(self.take_query)
        route = self._app.router.add_api_route
        route("/tasks", self.start, methods=["POST"], status_code=202)
        route("/tasks/{task_id}", self.status, methods=["GET"])
        route("/tasks/{task_id}/approvals/{name}", self.approve, methods=["POST"], status_code=202)

    @property
    def app(self) -> FastAPI:
        """The app to serve."""
        if self._plan is None:
            raise ConfigurationError(f"orchestrator {self.name!r} has no plan", mend="decorate one with @plan(…)")
        return self._app.asgi

    def plan(self, content: type[BaseModel]) -> Callable[[Plan], Plan]:
        """Make the decorated generator function the plan of tasks with that content; returns the function."""

        def add(plan: Plan) -> Plan:
            self._plan, self._content = plan, content
            return plan

        return add

    async def start(self, task: NewTask) -> TaskResult:
        """Start a task; InvalidInputError if its content does not fit the plan."""
        message = Message(
            id=task.id or new_id(),
            type=MessageType.TASK,
            sender=self.name,
            content=task.content,
            metadata=task.metadata,
        )
        await self._accept(message)
        return TaskResult(task_id=message.id, status="running")

    async def take_query(self, query: Message) -> None:
        """A question from the bus, from a Dovecote app or from a stock client's plain JSON."""
        content = query.content if isinstance(query.content, dict) else {"question": query.content}
        task_id = query.id
        if task_id.startswith(NAMELESS):
            # Plain JSON may bring an id; if it does not, who asks the same again wants an answer again.
            task_id = str(content.get("id") or new_id())
        await self._accept(query.model_copy(update={"id": task_id, "content": content}))

    async def take_reply(self, reply: Message) -> None:
        """An agent's answer: wakes the plan that asked."""
        if reply.conversation_id is None or reply.correlation_id is None:
            raise InvalidInputError(f"reply {reply.id!r} names no conversation or no request")
        data: dict[str, JsonValue] = {"type": reply.type.value, "content": reply.content}
        workflows = self._app.running.ports.workflows
        await workflows.raise_event(reply.conversation_id, f"reply.{reply.correlation_id}", data)

    async def status(self, task_id: str) -> TaskResult:
        """Where a task stands, and its answer. NotFoundError if there is none of that id."""
        known = await self._app.running.ports.workflows.status(task_id)
        if known is None:
            raise NotFoundError(f"there is no task {task_id!r}", mend="POST /tasks answers with the task's id")
        return _result(known)

    async def approve(self, task_id: str, name: str, decision: dict[str, Any]) -> dict[str, str]:
        """Somebody's word on what the plan of a task waits for."""
        await self.status(task_id)
        await self._app.running.ports.workflows.raise_event(task_id, f"approval.{name}", {"decision": decision})
        return {"task_id": task_id, "approval": name}

    async def _accept(self, message: Message) -> None:
        assert self._content is not None  # noqa: S101 - `app` refuses an orchestrator without a plan
        try:
            self._content.model_validate(message.content)
        except ValidationError as error:
            raise InvalidInputError(f"task {message.id!r} does not fit: {faults(error.errors())}") from error
        running = self._app.running
        patience = Patience.model_validate(running.settings).model_dump(mode="json")
        ended = await accept(running, PLAN, message, patience=patience)
        if ended is None:
            self._tell(message.id, "started", f"{self.name} takes the task")
        else:
            await self._answer(message, _result(ended))

    def _follow(self, context: WorkflowContext, data: Any) -> Steps:
        assert self._plan is not None  # noqa: S101 - see `app`
        assert self._content is not None  # noqa: S101 - see `app`
        task = Message.model_validate(data)
        # A version before this one has accepted the task where it says nothing of patience.
        patience = Patience.model_validate(data.get("patience") or self._app.running.settings)
        began = context.current_utc_datetime
        run = Execution(context, task, self.name, patience)
        answer: JsonValue = None
        error: Failure | None = None
        try:
            answer = yield from run.follow(self._plan, self._content.model_validate(task.content))
        except DovecoteError as failed:
            error = Failure.of(failed)
        result = TaskResult(
            task_id=task.id,
            status="failed" if error else "completed",
            answer=answer.model_dump(mode="json") if isinstance(answer, BaseModel) else answer,
            steps=run.steps,
            usage=sum((step.usage for step in run.steps), Usage()),
            seconds=round((context.current_utc_datetime - began).total_seconds(), 3),
            error=error,
        ).model_dump(mode="json")
        yield context.call_activity("finish", {"task": data, "result": result}, TELL)
        return result

    async def find(self, capabilities: list[str]) -> JsonValue:
        """Activity: the app-id of a running agent for each capability."""
        return [row.app_id for row in await self._app.running.directory.find(capabilities, "agent")]

    async def send(self, data: dict[str, Any]) -> JsonValue:
        """Activity: publish a task to an agent, which must have run once, and may be away."""
        message = Message.model_validate(data["message"])
        running = self._app.running
        agent: str | None = data["agent"]
        if agent is None:
            agent = await self._agent(message.recipient or "")
        self._tell(str(message.conversation_id), "started", f"{self.name} asks {agent}", message.id)
        running.feed.hurry()  # so that it is told before what the agent tells
        await running.ports.bus.publish(topics.inbox(agent), message)
        return agent

    async def _agent(self, name: str) -> str:
        """The app-id of the agent of that name, be it away or not, or of one that runs and has the capability."""
        directory = self._app.running.directory
        known = await directory.presence(name)
        if known is not None and known.kind == "agent":
            return name
        [row] = await directory.find([name], "agent")
        return row.app_id

    async def give_up(self, data: dict[str, Any]) -> JsonValue:
        """Activity: make a dead letter, with its reason, of a task that no agent has taken."""
        message, agent = Message.model_validate(data["message"]), data["agent"]
        bus = self._app.running.ports.bus
        error = AgentUnavailableError(data["reason"])
        topic, sent = topics.inbox(agent), data["sent"]
        await bury(bus, message, error, topic=topic, consumer=agent, attempt=sent, sender=self.name)
        return None

    async def call(self, data: dict[str, Any]) -> JsonValue:
        """Activity: call a tool's function."""
        request = ToolRequest.model_validate(data["request"])
        running = self._app.running
        [tool] = await running.directory.find([data["tool"]], "tool", age=running.settings.heartbeat)
        self._tell(request.task_id, "started", f"{self.name} calls {tool.app_id}", request.id)
        outcome = await call_tool(running.ports.invoke, tool.app_id, data["function"], request)
        return outcome.model_dump(mode="json")

    async def finish(self, data: dict[str, Any]) -> JsonValue:
        """Activity: tell that the task is over, and answer whoever asked over the bus."""
        task, result = Message.model_validate(data["task"]), TaskResult.model_validate(data["result"])
        bus = self._app.running.ports.bus
        await self._app.running.feed.flush()
        kind: Literal["completed", "failed"] = "failed" if result.error else "completed"
        text = result.error.message if result.error else "the answer is there"
        event = self._event(task.id, kind, text, kind)
        event.data["result"] = data["result"]
        await bus.publish(topics.TASK_EVENTS, event.to_message())
        await self._answer(task, result)
        return None

    async def _answer(self, task: Message, result: TaskResult) -> None:
        reply_to = task.reply_to or (topics.QUERY_RESPONSE if task.type is MessageType.QUERY else None)
        if reply_to:
            kind = MessageType.ERROR if result.error else MessageType.RESPONSE
            reply = task.reply(result.model_dump(mode="json"), sender=self.name, kind=kind)
            await self._app.running.ports.bus.publish(reply_to, reply)

    def _tell(self, task_id: str, kind: Literal["started"], text: str, key: str = "task") -> None:
        self._app.running.feed.tell(self._event(task_id, kind, text, key))

    def _event(
        self, task_id: str, kind: Literal["started", "completed", "failed"], text: str, key: str
    ) -> TaskEvent:
        return TaskEvent(id=f"{task_id}.{key}.{kind}", task_id=task_id, kind=kind, agent=self.name, text=text)


def _result(known: WorkflowStatus) -> TaskResult:
    """What a task's workflow says of it."""
    if known.status == "completed":
        return TaskResult.model_validate(known.output)
    error = Failure(type=known.error_type, message=known.error) if known.status == "failed" else None
    return TaskResult(task_id=known.instance_id, status=known.status, error=error)
