"""Matching: conditions on messages in the Common Expression Language (CEL), as in Dapr's routing rules.

A condition is about `event`, the message as a CloudEvents event:

- `event.type == "task"`, `event.subject == "writer"`, `event.priority <= 1.0`
- `event.data.task_type == "analysis"`, `has(event.data.amount) && event.data.amount > 100.0`

Numbers are floating-point ones, as the sidecar reads them. Of content that a codec has compressed or encrypted, or
that lies in the state store, nothing can be asked. The sidecar evaluates the conditions of subscriptions; in
memory, and for a router, the same expressions are evaluated here. A message that a condition cannot be asked of is
a dead letter at once, whose reason the sidecar tells in its log only. What no condition takes is acknowledged: a
filter is no failure, but the sidecar would make a dead letter of what it has no route for.
"""

import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from dovecote.classes import Lane
from dovecote.errors import ConfigurationError, InvalidInputError
from dovecote.ports import Subscription

Condition = Callable[[Mapping[str, Any]], bool]
_EVENT: Final = "event"


@lru_cache(1024)
def condition_of(expression: str) -> Condition:
    """The condition that a CEL expression is; ConfigurationError if it is none, or is not about `event`.

    What it returns raises InvalidInputError for an event that it cannot be asked about, such as one without a field
    that the expression does not test with `has`.
    """
    try:
        program = importlib.import_module("cel").compile(expression)  # takes a second, and few apps have conditions
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the condition {expression!r} needs CEL", mend="install dovecote with its extra: dovecote[routing]"
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"the condition {expression!r} is not CEL: {error}") from error
    if _EVENT not in program.variables():
        raise ConfigurationError(
            f"the condition {expression!r} is not about {_EVENT!r}", mend='ask for example: event.type == "task"'
        )

    def condition(event: Mapping[str, Any]) -> bool:
        try:
            # The sidecar's JSON has no whole numbers.
            found = program.execute({_EVENT: json.loads(json.dumps(event), parse_int=float)})
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = f"no field {error}" if isinstance(error, KeyError) else error
            raise InvalidInputError(
                f"the condition {expression!r} cannot be asked of event {event.get('id')!r}: {reason}",
                mend="test what may be missing: has(event.data.field) && …",
            ) from error
        if not isinstance(found, bool):
            raise InvalidInputError(f"the condition {expression!r} is {found!r}, which is neither true nor false")
        return found

    return condition


def in_lanes(subscriptions: Iterable[Subscription]) -> dict[Lane, list[Subscription]]:
    """The subscriptions of each lane in the order in which they are tried: by priority, the one for the rest last.

    ConfigurationError where two of one topic contradict each other: the sidecar has one subscription for them.
    """
    lanes: dict[Lane, list[Subscription]] = {}
    for subscription in subscriptions:
        lanes.setdefault(subscription.lane, []).append(subscription)
    for lane, rules in lanes.items():
        rules.sort(key=lambda rule: (not rule.match, rule.priority))
        if sum(not rule.match for rule in rules) > 1:
            raise ConfigurationError(
                f"topic {lane.topic!r} has two handlers for all messages",
                mend="give one of them a condition: match=",
            )
        if len({(rule.bulk, rule.raw, rule.dead_letter) for rule in rules}) > 1:
            raise ConfigurationError(
                f"the subscriptions to topic {lane.topic!r} differ in bulk, raw or dead_letter",
                mend="say the same for each of them",
            )
    return lanes


def matching(rules: Iterable[Subscription], event: object) -> Subscription | None:
    """The first of a lane's subscriptions whose condition holds; None if the event is for none of them."""
    for rule in rules:
        if not rule.match or condition_of(rule.match)(event if isinstance(event, Mapping) else {}):
            return rule
    return None
