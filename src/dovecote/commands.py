"""Commands: Python functions that other apps may have an app carry out, by a message.

The signature and the docstring of a function are its JSON Schema, as those of a tool. A command is accepted or
rejected at once: accepted is said when its workflow is started. That carries it out and tells the outcome, whatever
is killed meanwhile; once, however often the command is sent.
"""

import contextlib
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from pydantic_core import to_json

from dovecote import topics
from dovecote.acceptance import TELL, accept, patience_of
from dovecote.app import App
from dovecote.delivery import bury
from dovecote.errors import (
    CommandRejectedError,
    ConfigurationError,
    ConflictError,
    DovecoteError,
    InvalidInputError,
    NotBegunError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
)
from dovecote.inbox import Route, outcome_key
from dovecote.messages import DeliveryMode, Message, MessageType
from dovecote.modes import begin
from dovecote.once import Once
from dovecote.ports import Steps, ToolSpec, WorkflowContext, Write
from dovecote.problems import faults
from dovecote.resubmission import HANDED_IN
from dovecote.results import Failure, answer, refusal
from dovecote.tools import Function, ToolOutcome, ToolRequest, forget, run_once

log = logging.getLogger(__name__)

WORKFLOW: Final = "command"
_CARRY_OUT: Final = "command.carry_out"
_REPORT: Final = "command.report"
_BURY: Final = "command.bury"
_PAUSE: Final = timedelta(minutes=10)
_INLINE: Final = 1 << 16  # bytes of content that a workflow is given; what is larger is kept in state
_ACCEPTED: Final = 7 * 24 * 3600  # seconds that an accepted command is kept for its app to be there
F = TypeVar("F", bound=Callable[..., Any])


class CommandContent(BaseModel):
    """The content of a command message."""

    model_config = ConfigDict(extra="forbid")

    command: str
    parameters: dict[str, Any] = {}


class Commands:
    """The commands of an app: `commands = Commands(app)`, and `@commands.command` over each function."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._functions: dict[str, Function] = {}
        if WORKFLOW in app.workflows:
            raise ConfigurationError(
                f"app {app.name!r} has commands already", mend="offer all of them with one Commands"
            )
        app.inbox.open()
        app.workflows[WORKFLOW] = self._follow
        app.activities |= {_CARRY_OUT: self._carry_out, _REPORT: self._report, _BURY: self._bury}
        # A handler of all types is not asked before.
        app.inbox.routes.add(Route(self.take, frozenset({MessageType.COMMAND}), answers=False), first=True)

    def command(self, function: F) -> F:
        """Offer the decorated function under its name; returns it as it was.

        A parameter of type `Call` gets the call, whose `state` has an effect once. What the function raises is the
        outcome, but for errors that are worth another try: then it is tried again, for the seconds of
        DOVECOTE_MODEL_WAIT, and no more often than the command allows. What fails and has nobody who waits for it
        is a dead letter. Commands of one `order_key` are accepted in order, and carried out at the same time: who
        needs one after the other waits for the outcome.
        """
        made = Function(function, read_only=False)
        self._functions[made.name] = made
        return function

    @property
    def specs(self) -> list[ToolSpec]:
        """The commands that there are: name, description and JSON Schema of the parameters."""
        return [function.spec for function in self._functions.values()]

    async def take(self, message: Message) -> None:
        """Accept a command, and tell its sender; a workflow tells the outcome. If it comes again it is told again.

        Raises CommandRejectedError for one that is wrong, and TooLargeError for one that cannot be kept, if nobody
        waits for an answer; NotBegunError while it cannot be accepted. A dead letter that is handed in again is
        carried out now, whatever it ended with before, and its error raised: whoever does so is to hear of it.
        """
        if HANDED_IN.get():
            await self._carry_out_again(message)
            return
        running = self._app.running
        try:
            self._checked(message)
            envelope = await self._envelope(message)
        except (CommandRejectedError, TooLargeError) as error:
            if not message.reply_to:
                raise
            told = refusal(message, error, sender=self._app.name)
            await running.ports.bus.publish(message.reply_to, told)
            return
        ended = await accept(running, WORKFLOW, envelope, at_once=True)
        if ended is not None and ended.status == "failed":
            await self._carry_out_now(message)  # it has told nobody
        elif ended is not None and message.reply_to:
            failure = ended.output.get("error") if isinstance(ended.output, dict) else None
            await self._answer(message, failure)

    async def _envelope(self, message: Message) -> Message:
        """A command as its workflow is given it: without its content, which is kept, if that is large."""
        # A workflow takes no more than some megabytes, and parameters may be larger.
        if len(to_json(message.content)) <= _INLINE:
            return message
        write = Write(_key(message.id), message.content, create=True, ttl=_ACCEPTED)
        try:
            await self._app.running.ports.state.write(write)
        except ConflictError:
            log.debug("the content of command %r is kept already", message.id)
        except UnavailableError as error:
            raise NotBegunError(f"command {message.id!r} is not accepted yet: {error}") from error
        return message.model_copy(update={"content": None})

    async def _carry_out_again(self, message: Message) -> None:
        """Carry out a dead letter: an error with which it ended is forgotten, but not what it has done."""
        ports = self._app.running.ports
        kept = await Once(ports.state).kept(outcome_key(message))
        if kept and kept.value.get("error"):
            await forget(ports.state, message.identity)
            await ports.state.delete(outcome_key(message))
        await self._carry_out_now(message)

    async def _carry_out_now(self, message: Message) -> None:
        """Carry out a command and tell its outcome; raises the error with which it ends, or ended."""
        outcome = await self._outcome(message)
        if message.reply_to:
            told = answer(message, outcome.model_dump(mode="json"), sender=self._app.name)
            await self._app.running.ports.bus.publish(message.reply_to, told)
        if outcome.error:
            raise outcome.error.to_error()

    def _follow(self, context: WorkflowContext, data: Any) -> Steps:
        command = Message.model_validate(data)
        tries = patience_of(data)
        if command.max_attempts is not None:
            tries = replace(tries, attempts=min(tries.attempts, command.max_attempts))
        try:
            failure = yield context.call_activity(_CARRY_OUT, data, tries)
        except DovecoteError as error:
            failure = Failure.of(error).model_dump(mode="json")
        told: JsonValue = {"command": data, "error": failure}
        heard = False
        if command.reply_to:
            with contextlib.suppress(DovecoteError):
                yield context.call_activity(_REPORT, told, TELL)
                heard = not command.expired(context.current_utc_datetime)
        while failure and not heard:
            try:
                yield context.call_activity(_BURY, told, TELL)
                heard = True
            except DovecoteError:
                yield context.create_timer(_PAUSE)  # nothing is given up before its reason is told
        return {"error": failure}

    async def _carry_out(self, data: Any) -> JsonValue:
        """Activity: carry out a command; returns the error with which it ended. Its outcome is kept."""
        command = await self._accepted(data)
        if command.content is None:
            raise NotFoundError(f"command {command.id!r} was accepted long ago, and its parameters are not kept")
        outcome = await self._outcome(command)
        return outcome.error.model_dump(mode="json") if outcome.error else None

    async def _report(self, data: Any) -> JsonValue:
        """Activity: tell the outcome to whoever waits for it."""
        await self._answer(Message.model_validate(data["command"]), data["error"])
        return None

    async def _bury(self, data: Any) -> JsonValue:
        """Activity: make a dead letter of a command that failed, and whose sender does not hear of it."""
        command, failure = await self._accepted(data["command"]), Failure.model_validate(data["error"])
        name = self._app.name
        if command.delivery is DeliveryMode.AT_MOST_ONCE:
            log.warning("command %r: lost, since it is not carried out again: %s", command.id, failure.message)
            return None
        # Its mode was kept when it was accepted, and is not to keep it from being handed in again.
        letter = command.model_copy(update={"delivery": DeliveryMode.AT_LEAST_ONCE})
        bus = self._app.running.ports.bus
        await bury(bus, letter, failure.to_error(), topic=topics.inbox(name), consumer=name)
        return None

    async def _accepted(self, data: Any) -> Message:
        """A command as it was accepted."""
        command = Message.model_validate(data)
        if command.content is not None:
            return command
        item = await self._app.running.ports.state.get(_key(command.id))
        return command.model_copy(update={"content": item.value if item else None})

    async def _answer(self, command: Message, failure: JsonValue) -> None:
        """Publish the outcome of a command that has ended: the error, or else what is kept."""
        ports, name = self._app.running.ports, self._app.name
        kept = None if failure else await Once(ports.state).kept(outcome_key(command))
        gone = NotFoundError(f"the outcome of command {command.id!r} is not kept any more")
        outcome = kept.value if kept else {"error": failure or Failure.of(gone).model_dump(mode="json")}
        await ports.bus.publish(str(command.reply_to), answer(command, outcome, sender=name))

    async def _outcome(self, command: Message) -> ToolOutcome:
        """What a command gives, or gave; it is carried out once. Only what may succeed later is raised."""
        function, parameters = self._checked(command)
        state = self._app.running.ports.state
        request = ToolRequest(
            id=command.identity,
            arguments=parameters,
            task_id=command.conversation_id or "",
            metadata=command.metadata,
        )

        async def work() -> JsonValue:
            if command.expired():
                raise InvalidInputError(f"command {command.id!r} expired before it was carried out")
            if command.delivery is not DeliveryMode.AT_MOST_ONCE:
                return (await run_once(self._app, function, request)).model_dump(mode="json")
            await begin(f"begun:{command.identity}", command, state)
            try:
                return (await run_once(self._app, function, request)).model_dump(mode="json")
            except DovecoteError as error:  # it was begun, and so it ends with that
                return {"error": Failure.of(error).model_dump(mode="json")}

        # Another of its idempotency key may be at it, or a replica that was killed.
        done = await Once(state).do(outcome_key(command), work, wait=True)
        return ToolOutcome.model_validate(done.value)

    def _checked(self, message: Message) -> tuple[Function, dict[str, Any]]:
        try:
            content = CommandContent.model_validate(message.content)
        except ValidationError as error:
            raise CommandRejectedError(
                f"command {message.id!r} cannot be read: {faults(error.errors())}",
                mend=_schema(CommandContent.model_json_schema()),
            ) from error
        function = self._functions.get(content.command)
        if function is None:
            offered = {spec.name: spec.parameters for spec in self.specs}
            raise CommandRejectedError(
                f"app {self._app.name!r} has no command {content.command!r}", mend=_schema(offered)
            )
        try:
            function.check(content.parameters)
        except InvalidInputError as error:
            raise CommandRejectedError(str(error), mend=_schema(function.spec.parameters)) from error
        return function, content.parameters


def _key(command_id: str) -> str:
    return f"command:{command_id}"


def _schema(schema: object) -> str:
    return f"it takes {json.dumps(schema)}"
