"""Reports: what an agent publishes of its work, by three flags and their presets.

The flags, their defaults and the presets are those of Argentic's messaging configuration (Agent Messaging Control).
What a flag leaves out is not told; the record of a task (`tasks/events`) is kept in any case.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from dovecote import topics
from dovecote.app import App
from dovecote.errors import ConfigurationError
from dovecote.messages import Message, MessageType
from dovecote.results import TaskEvent

Preset = Literal["production", "development", "single-agent"]


class Flags(BaseModel):
    """What an agent publishes.

    `publish_to_supervisor`: the answer, to whoever gave the task; without it the agent is not found by plans, and
    refuses tasks that want an answer. `publish_to_agent_topic`: each step, to `agent/<name>/status`.
    `enable_tool_result_publishing`: what each tool gave it, to `tools/<tool>/response/<task>`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    publish_to_supervisor: bool = True
    publish_to_agent_topic: bool = True
    enable_tool_result_publishing: bool = False


PRESETS: Final[Mapping[str, Flags]] = MappingProxyType(
    {
        "production": Flags(publish_to_agent_topic=False),
        "development": Flags(enable_tool_result_publishing=True),
        "single-agent": Flags(publish_to_supervisor=False),
    }
)
"""The flags for three kinds of deployment."""


def flags_of(preset: str | None, given: Mapping[str, bool | None]) -> Flags:
    """The flags that are given, the others as the preset has them; ConfigurationError for an unknown preset."""
    if preset and preset not in PRESETS:
        raise ConfigurationError(
            f"an agent's preset {preset!r} is unknown", mend=f"choose one of: {', '.join(PRESETS)}"
        )
    said = {name: value for name, value in given.items() if value is not None}
    return (PRESETS[preset] if preset else Flags()).model_copy(update=said)


class Reports:
    """The reports of one agent.

    What its author gives holds, and a preset settles all flags; the rest is as the environment says at the start.
    """

    def __init__(self, app: App, preset: Preset | None, given: Mapping[str, bool | None]) -> None:
        self.flags = flags_of(preset, given)
        self._app = app
        self._preset = preset
        self._given = given
        app.lifespans.append(self._kept)

    def tell(self, event: TaskEvent) -> None:
        """Tell of a step on the agent's own topic, if that is wanted."""
        if self.flags.publish_to_agent_topic:
            self._app.running.feed.publish(topics.agent_topic(self._app.name), event.to_message())

    def tell_result(self, tool: str, task_id: str, call_id: str, outcome: BaseModel) -> None:
        """Tell what a tool gave, if that is wanted."""
        if self.flags.enable_tool_result_publishing:
            told = Message(
                id=f"{call_id}.result",
                type=MessageType.EVENT,
                sender=self._app.name,
                conversation_id=task_id,
                content={"task_id": task_id, **outcome.model_dump(mode="json")},
            )
            self._app.running.feed.publish(topics.tool_response(tool, task_id), told)

    @contextlib.asynccontextmanager
    async def _kept(self) -> AsyncIterator[None]:
        running = self._app.running
        if not self._preset:
            said = {name: getattr(running.settings, name) for name in Flags.model_fields}
            written = {name: value for name, value in self._given.items() if value is not None}
            self.flags = flags_of(running.settings.agent_preset, {**said, **written})
        if not self.flags.publish_to_supervisor:
            running.registration.kind = "service"
        yield
