"""Commands: Python functions that other apps may have an app carry out, by a message.

The signature and the docstring of a function are its JSON Schema, as those of a tool. A command is accepted or
rejected at once; its outcome comes later, once, however often the command is sent.
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from dovecote.app import App
from dovecote.errors import CommandRejectedError, InvalidInputError
from dovecote.inbox import Route
from dovecote.messages import Message, MessageType
from dovecote.ports import ToolSpec
from dovecote.problems import faults
from dovecote.results import refusal
from dovecote.tools import Function, ToolRequest, run_once

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
        app.inbox.open()
        # A handler of all types is not asked before.
        app.inbox.routes.add(Route(self.take, frozenset({MessageType.COMMAND}), answers=False), first=True)

    def command(self, function: F) -> F:
        """Offer the decorated function under its name; returns it as it was.

        A parameter of type `Call` gets the call, whose `state` has an effect once. What the function raises is the
        outcome, but for errors that are worth another try: then the command is delivered again.
        """
        made = Function(function, read_only=False)
        self._functions[made.name] = made
        return function

    @property
    def specs(self) -> list[ToolSpec]:
        """The commands that there are: name, description and JSON Schema of the parameters."""
        return [function.spec for function in self._functions.values()]

    async def take(self, message: Message) -> None:
        """Carry out a command, and tell its sender of each step; raises CommandRejectedError if nobody is told."""
        reply_to, name = message.reply_to, self._app.name
        try:
            function, parameters = self._checked(message)
        except CommandRejectedError as error:
            if not reply_to:
                raise
            await self._app.running.ports.bus.publish(reply_to, refusal(message, error, sender=name))
            return
        if reply_to:
            await self._app.running.ports.bus.publish(reply_to, message.accepted(sender=name))
        request = ToolRequest(
            id=message.identity,
            arguments=parameters,
            task_id=message.conversation_id or "",
            metadata=message.metadata,
        )

        async def work() -> JsonValue:
            outcome: JsonValue = (await run_once(self._app, function, request)).model_dump(mode="json")
            return outcome

        await self._app.inbox.answer_once(message, work)

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


def _schema(schema: object) -> str:
    return f"it takes {json.dumps(schema)}"
