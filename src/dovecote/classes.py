"""Classes of message: which component carries a topic, how surely, and whether its last value is retained.

The quality of service is one for a whole component of the sidecar, so there are two: `pubsub` delivers at least
once, `news` at most once, on every broker. What is critical has its effect once as well, since its handlers start
a workflow under the message's id.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal


@dataclass(frozen=True)
class MessageClass:
    """How the messages of some topics are carried.

    `qos` is 0 for at most once, 1 for at least once, 2 for at least once with an effect that takes place once. In
    `topics`, `+` stands for one level, and `#` at the end for all that follow.
    """

    name: str
    component: Literal["pubsub", "news"]
    qos: Literal[0, 1, 2]
    topics: tuple[str, ...]
    retained: bool = False


# The first that fits counts; the last fits all.
CLASSES: Final = (
    MessageClass("critical", "pubsub", 2, ("agents/+/inbox", "agent/query/ask")),
    MessageClass("tool_calls", "pubsub", 1, ("agent/tools/call/+", "tools/+/call/+")),
    MessageClass(
        "responses", "pubsub", 1, ("agent/query/response", "agent/tools/response/+", "tools/+/response/+")
    ),
    MessageClass("tool_registry", "pubsub", 1, ("agent/tools/register", "tools/+/register"), retained=True),
    MessageClass("status", "news", 0, ("client_status/+", "agent/status/#", "tools/+/status"), retained=True),
    MessageClass("logs", "news", 0, ("logs/#",)),
    MessageClass("events", "pubsub", 1, ("#",)),
)


@lru_cache(1024)
def class_of(topic: str) -> MessageClass:
    """The class of a topic, given as a path."""
    return next(one for one in CLASSES if any(_fits(pattern, topic) for pattern in one.topics))


def _fits(pattern: str, topic: str) -> bool:
    spelled = re.escape(pattern).replace(r"\+", "[^/]+").replace(r"\#", ".+")
    return re.fullmatch(spelled, topic) is not None
