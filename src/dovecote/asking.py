"""Asking: one task for one agent, sent until it is taken, and then until it is answered.

A broker may lose a message, or have nobody to give it to. So the task goes out again and again, with the same id:
with longer and longer pauses until the agent says that it has it, or until that takes too long and the task is a
dead letter; then at the longest pause until the answer is there, since an answer may get lost as well.
"""

from collections.abc import Generator
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, JsonValue

from dovecote.acceptance import TELL
from dovecote.errors import AgentUnavailableError, DeadlineError, UnavailableError
from dovecote.messages import Message, MessageType
from dovecote.ports import Retry, WorkflowContext

_Run = Generator[Any, Any, Any]
_LONGEST_PAUSE: Final = 30.0


class Patience(BaseModel):
    """How long agents are waited for, and how often they are asked: what the settings say when a task is accepted.

    It is kept with the task, since a replay under other settings would do something else.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True)

    agent_wait: float
    ask_timeout: float
    ask_retries: int
    resend_after: float
    accept_timeout: float

    @property
    def tries(self) -> Retry:
        """How often an activity is tried for which an agent must run."""
        return Retry.lasting(self.agent_wait, longest=5)


class Asking:
    """One task on its way; part of a workflow."""

    def __init__(self, context: WorkflowContext, task: Message, patience: Patience) -> None:
        self._context = context
        self._task = task
        self._patience = patience
        self._event = f"reply.{task.id}"
        self._accepted = False

    def until_answered(self, agent: str | None, limit: float) -> _Run:
        """Send until the answer is there; returns it as `take_reply` raised it.

        `agent` is the app-id if it is known to run. Raises DeadlineError after `limit` seconds,
        AgentUnavailableError if nobody has taken the task within the accept timeout, and UnavailableError if it
        could not be sent in that time.
        """
        began = self._context.current_utc_datetime
        end = began + timedelta(seconds=limit)
        last_call = began + timedelta(seconds=self._patience.accept_timeout)
        pause = self._patience.resend_after
        longest = max(pause, _LONGEST_PAUSE)
        sent = 0
        while True:
            data: dict[str, JsonValue] = {"message": self._task.model_dump(mode="json"), "agent": agent}
            failed: UnavailableError | None = None
            try:
                agent = yield self._context.call_activity("send", data, self._patience.tries)
                sent += 1
            except AgentUnavailableError:
                raise
            except UnavailableError as error:
                failed = error  # the broker may be back before the agent's time is over
            again = self._context.current_utc_datetime + timedelta(seconds=pause)
            reply = yield from self._wait(min(again, end if self._accepted else min(end, last_call)))
            now = self._context.current_utc_datetime
            if reply is not None:
                return reply
            if now >= end:
                raise DeadlineError(f"agent {self._task.recipient!r} did not answer in time")
            if now >= last_call and not self._accepted:
                if failed and not sent:
                    raise failed
                yield from self._give_up(str(agent), sent)
            if not failed:
                pause = longest if self._accepted else min(pause * 2, longest)

    def _wait(self, until: datetime) -> _Run:
        """The answer, or None at that time."""
        while True:
            left = until - self._context.current_utc_datetime
            try:
                event = yield self._context.wait_for_external_event(self._event, max(left, timedelta()))
            except TimeoutError:
                return None
            if event["type"] != MessageType.STATUS:
                return event
            self._accepted = True

    def _give_up(self, agent: str, sent: int) -> _Run:
        reason = (
            f"agent {agent!r} did not take task {self._task.id!r} within {self._patience.accept_timeout:g} s, "
            f"though it was sent {sent} times"
        )
        data: dict[str, JsonValue] = {
            "message": self._task.model_dump(mode="json"),
            "agent": agent,
            "sent": sent,
            "reason": reason,
        }
        yield self._context.call_activity("give_up", data, TELL)
        raise AgentUnavailableError(reason, mend="see that it runs; the task is among the dead letters")
