"""Routing: rules that choose, by what a message says, which app it is sent to.

The names are those of the AgentOperatingSystem's message router (section 3.6).
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from dovecote import topics
from dovecote.app import App, checked_name
from dovecote.directory import Registration
from dovecote.errors import AgentUnavailableError, ConfigurationError, NotFoundError
from dovecote.matching import condition_of
from dovecote.messages import Message

Strategy = Literal["round_robin", "least_loaded"]
_FRESH: Final = 1.0  # seconds that what the directory said is believed


@dataclass(frozen=True)
class Rule:
    """A condition, and the apps that a message for which it holds may go to."""

    name: str
    condition: Callable[[Message], bool]
    targets: deque[str]
    strategy: Strategy


class MessageRouter:
    """The rules of one app, tried in the order in which they were added.

    A condition is a CEL expression about `event` (dovecote.matching) or a function of the message. A wrong rule, or
    a target that is no app-id, raises ConfigurationError when it is added, which is before the app starts.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._rules: dict[str, Rule] = {}
        self._sent: deque[tuple[float, str]] = deque()

    def add_rule(self, name: str, condition: str | Callable[[Message], bool], target: str) -> None:
        """Send what the condition holds for to one app."""
        self.add_load_balancing_rule(name, condition, [target])

    def add_load_balancing_rule(
        self,
        name: str,
        condition: str | Callable[[Message], bool],
        targets: Sequence[str],
        strategy: Strategy = "round_robin",
    ) -> None:
        """Send what the condition holds for to one of several apps: to each in turn, or to the least loaded one."""
        if name in self._rules:
            raise ConfigurationError(f"there is a rule {name!r} already", mend="give each rule a name of its own")
        if strategy not in get_args(Strategy):
            raise ConfigurationError(
                f"rule {name!r}: strategy {strategy!r} is unknown",
                mend=f"choose one of: {', '.join(get_args(Strategy))}",
            )
        if not targets:
            raise ConfigurationError(f"rule {name!r} has no target", mend="name at least one app-id")
        for target in targets:
            checked_name(target, f"rule {name!r}: target")
        asked = _of_message(condition) if isinstance(condition, str) else condition
        self._rules[name] = Rule(name, asked, deque(targets), strategy)

    async def route(self, message: Message) -> str:
        """The app-id that a message is to be sent to.

        NotFoundError if no rule holds for it, AgentUnavailableError if none of the least loaded targets runs,
        InvalidInputError if a condition cannot be asked about it.
        """
        for rule in self._rules.values():
            if rule.condition(message):
                return await self._target(rule)
        raise NotFoundError(
            f"no rule holds for message {message.id!r} of type {message.type.value!r}",
            mend=f"add one; there are: {', '.join(self._rules) or 'none'}",
        )

    async def forward(self, message: Message) -> Message:
        """Send a message to the app that the rules choose, into its inbox; returns it as it was sent."""
        target = await self.route(message)
        sent = message.model_copy(update={"recipient": target})
        await self._app.running.ports.bus.publish(topics.inbox(target), sent)
        return sent

    async def _target(self, rule: Rule) -> str:
        if rule.strategy == "round_robin" or len(rule.targets) == 1:
            target = rule.targets[0]
        else:
            target = await self._least_loaded(rule)
        rule.targets.remove(target)
        rule.targets.append(target)  # of equals, the one whose turn was longest ago is next
        return target

    async def _least_loaded(self, rule: Rule) -> str:
        """The target with the least work for each replica: what its leases tell, and what was sent there since."""
        running = self._app.running
        rows = await running.directory.running(age=_FRESH)
        replicas = {
            target: found for target in rule.targets if (found := [row for row in rows if row.app_id == target])
        }
        if not replicas:
            raise AgentUnavailableError(
                f"rule {rule.name!r}: none of {', '.join(sorted(rule.targets))} runs", mend="start one of them"
            )
        clock = time.monotonic()
        while self._sent and clock - self._sent[0][0] > running.settings.heartbeat:
            self._sent.popleft()
        target = min(replicas, key=lambda name: self._load(name, replicas[name]))
        self._sent.append((clock, target))
        return target

    def _load(self, target: str, replicas: Sequence[Registration]) -> float:
        sent = sum(name == target for _, name in self._sent)
        return (sum(row.load for row in replicas) + sent) / len(replicas)


def _of_message(expression: str) -> Callable[[Message], bool]:
    condition = condition_of(expression)
    return lambda message: condition(message.to_cloudevent())
