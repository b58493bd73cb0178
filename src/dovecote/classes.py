"""Classes of message: which component carries a topic, how surely, in which lanes, and whether it is retained.

The quality of service is one for a whole component of the sidecar, and so are the handlers that a burst of messages
may fill. So there are three, on every broker: `pubsub` delivers at least once, `news` at most once, and `urgent` as
`pubsub` does, beside it, so that what is urgent overtakes what waits. What is critical has its effect once as well,
since its handlers start a workflow under the message's id.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from dovecote.errors import ConfigurationError
from dovecote.messages import Message, Priority
from dovecote.topics import fits

PUBSUB: Final = "pubsub"
NEWS: Final = "news"
URGENT: Final = "urgent"
_SUFFIX: Final = "/urgent"


@dataclass(frozen=True)
class MessageClass:
    """How the messages of some topics are carried.

    `qos` is 0 for at most once, 1 for at least once, 2 for at least once with an effect that takes place once. In
    `topics`, `+` stands for one level, and `#` at the end for all that follow. `lanes` is whether urgent messages
    go a way of their own: not on topics that clients without Dovecote read, nor on those for the recorder.
    """

    name: str
    qos: Literal[0, 1, 2]
    topics: tuple[str, ...]
    retained: bool = False
    lanes: bool = False

    @property
    def component(self) -> str:
        """The component that carries what is not urgent."""
        return PUBSUB if self.qos else NEWS


_RESPONSES: Final = (
    "agents/+/replies",
    "agent/query/response",
    "agent/tools/response/+",
    "tools/+/response",
    "tools/+/response/+",
)
# The first that fits counts; the last fits all.
CLASSES: Final = (
    MessageClass("critical", 2, ("agents/+/inbox", "agent/query/ask"), lanes=True),
    MessageClass("tool_calls", 1, ("agent/tools/call/+", "tools/+/call", "tools/+/call/+")),
    MessageClass("responses", 1, _RESPONSES),
    MessageClass("tool_registry", 1, ("agent/tools/register", "tools/+/register"), retained=True),
    MessageClass("status", 0, ("client_status/+", "agent/status/#", "tools/+/status"), retained=True),
    MessageClass("monitoring", 0, ("agent/+/status",)),
    MessageClass("logs", 0, ("logs/#",)),
    MessageClass("records", 1, ("tasks/events", "events", "values", "deadletters", "deadletters/reasons")),
    MessageClass("events", 1, ("#",), lanes=True),
)


@dataclass(frozen=True)
class Lane:
    """A way that messages of a topic take: through a component, under a topic of the broker, given as a path."""

    component: str
    topic: str


@lru_cache(1024)
def class_of(topic: str) -> MessageClass:
    """The class of a topic, given as a path."""
    return next(one for one in CLASSES if any(fits(pattern, topic) for pattern in one.topics))


@lru_cache(1024)
def lane_of(topic: str, *, urgent: bool = False) -> Lane:
    """The lane of a topic's messages, of urgent ones or of others; they share one where its class has no lanes.

    Raises ConfigurationError for the name of a lane, which is no topic.
    """
    carried = class_of(topic)
    if carried.lanes and topic.endswith(_SUFFIX):
        raise ConfigurationError(
            f"topic {topic!r} is the lane of what is urgent on {topic.removesuffix(_SUFFIX)!r}",
            mend="name that topic, and give the message a priority",
        )
    return Lane(URGENT, topic + _SUFFIX) if urgent and carried.lanes else Lane(carried.component, topic)


def is_urgent(message: Message) -> bool:
    """Whether a message overtakes others; one with an order key keeps its place among those of its key."""
    return message.priority <= Priority.HIGH and message.order_key is None
