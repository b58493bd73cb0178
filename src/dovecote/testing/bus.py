"""The bus in memory: one broker for all apps of a test."""

import asyncio
import contextlib
import logging
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import JsonValue
from pydantic_core import from_json, to_json

from dovecote.classes import Lane, is_urgent, lane_of
from dovecote.codec import PLAIN, Codec
from dovecote.delivery import Deliveries, Status
from dovecote.errors import BatchError, InvalidInputError, UnavailableError
from dovecote.matching import in_lanes, matching
from dovecote.messages import Message
from dovecote.ports import Subscription
from dovecote.testing.state import MemoryState
from dovecote.topics import DEAD_LETTERS, VALUES, Capabilities
from dovecote.values import content_to_keep, copy_to_keep

log = logging.getLogger(__name__)

MEMORY: Final = Capabilities(
    broker="memory",
    separator="/",
    group_prefix="",
    durable=True,
    exceptions={
        "messages_of_one_order_key_are_handled_in_order": "In memory all messages are handed out at once.",
        "pauses_between_tries_grow": "In memory a message is tried again without a pause.",
    },
)
"""What the bus in memory can do."""


_Coded = tuple[str, Lane, bytes]  # topic, lane and event of what is published


@dataclass
class _Held:
    event: bytes
    attempt: int = 1


@dataclass(eq=False)
class _Member:
    rules: list[Subscription]  # those of one lane, as they are tried
    deliveries: Deliveries
    under_way: set[asyncio.Task[None]] = field(default_factory=set)

    async def handle(self, event: Any) -> Status:
        """Hand an event to the subscription that it is for, as the sidecar does."""
        try:
            rule = matching(self.rules, event)
        except InvalidInputError as error:
            log.error("%s: %s", self.rules[0].topic, error)  # noqa: TRY400 - the cause is no bug
            return "DROP"
        return await self.deliveries.deliver(rule, event) if rule else "SUCCESS"


@dataclass
class _Group:
    waiting: deque[_Held] = field(default_factory=deque)
    members: deque[_Member] = field(default_factory=deque)


class Membership:
    """The place of one running replica among the consumers."""

    def __init__(self, bus: "MemoryBus", places: list[tuple[_Group, _Member]]) -> None:
        self._bus = bus
        self._places = places

    async def leave(self) -> None:
        """Stop consuming. What was being handled goes to another replica, or waits for the next one."""
        for group, member in self._places:
            group.members.remove(member)
        under_way = [task for _, member in self._places for task in member.under_way]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        self._places = []


class CodedBus:
    """The bus in memory as one app publishes to it: through the app's codec."""

    def __init__(self, bus: "MemoryBus", codec: Codec) -> None:
        self._bus = bus
        self._codec = codec

    async def publish(self, topic: str, message: Message) -> None:
        """Return when it is taken; UnavailableError while none is taken, TooLargeError for too large a one."""
        self._bus.put(await self._encoded(topic, message))
        await asyncio.sleep(0)  # who publishes without end leaves others a turn, as over a network

    async def publish_batch(self, topic: str, messages: Sequence[Message]) -> None:
        """Publish several at once; BatchError if any was not taken. If one is too large, none is published."""
        failed: dict[str, str] = {}
        for message, events in [(message, await self._encoded(topic, message)) for message in messages]:
            try:
                self._bus.put(events)
            except UnavailableError as error:
                failed[message.id] = str(error)
        if failed:
            raise BatchError.of(topic, len(messages), failed)

    async def publish_content(self, topic: str, content: dict[str, JsonValue]) -> None:
        """Publish a bare JSON object, which no codec touches."""
        await self._bus.publish_event(topic, content)
        if keep := content_to_keep(topic, content, self._codec.app_id):
            await self.publish(VALUES, keep)

    async def _encoded(self, topic: str, message: Message) -> list[_Coded]:
        """A message as it is published, and after it the copy that is kept of it, if there is one."""
        keep = copy_to_keep(topic, message)
        return [
            (where, lane_of(where, urgent=is_urgent(one)), await self._codec.encode(MEMORY, where, one))
            for where, one in [(topic, message), *([(VALUES, keep)] if keep else [])]
        ]


class MemoryBus(CodedBus):
    """A broker that keeps everything: each app gets each message once, replicas of one app compete.

    An app that joins later gets what was published before. A message is tried `attempts` times, without the
    pauses that a real one makes, and then goes to the dead letters. With `available` off nothing is taken.
    An app publishes `through` its codec; `claims` is where all apps keep bodies that are over the limit.
    """

    def __init__(self, *, attempts: int = 9) -> None:
        super().__init__(self, PLAIN)
        self.available = True
        self.claims = MemoryState()
        self._attempts = attempts
        self._log: defaultdict[str, list[tuple[str, bytes]]] = defaultdict(list)
        self._groups: defaultdict[str, dict[str, _Group]] = defaultdict(dict)

    def through(self, codec: Codec) -> CodedBus:
        """The bus as an app with that codec publishes to it."""
        return CodedBus(self, codec)

    def put(self, events: Sequence[_Coded]) -> None:
        """Take events that were published through a codec; UnavailableError while none are taken."""
        for topic, lane, event in events:
            if not self.available:
                raise UnavailableError(f"publishing to {topic!r}: the broker is not available")
            self._take(topic, lane, event)

    async def publish_event(self, topic: str, event: Any) -> None:
        """Publish as a client without Dovecote does: any CloudEvents event, or any other JSON; none is urgent."""
        content = to_json(event)
        MEMORY.check_size(topic, str(event.get("id")) if isinstance(event, dict) else "no id", len(content))
        self.put([(topic, lane_of(topic), content)])

    def join(self, app_id: str, subscriptions: Sequence[Subscription], deliveries: Deliveries) -> Membership:
        """Let a replica of an app consume, until it leaves."""
        places = []
        for way, rules in in_lanes(subscriptions).items():
            lane = MEMORY.spell(way.topic)
            groups = self._groups[lane]
            if app_id not in groups:
                logged = self._log[MEMORY.spell(rules[0].topic)]
                groups[app_id] = _Group(deque(_Held(event) for taken, event in logged if taken == lane))
            member = _Member(rules, deliveries)
            groups[app_id].members.append(member)
            places.append((groups[app_id], member))
            self._hand_out(groups[app_id])
        return Membership(self, places)

    @contextlib.asynccontextmanager
    async def listen(self, app_id: str, deliveries: Deliveries, subscription: Subscription) -> AsyncIterator[None]:
        """Let a replica of an app consume one more topic while the block runs."""
        membership = self.join(app_id, subscription.in_each_lane(), deliveries)
        try:
            yield
        finally:
            await membership.leave()

    def events(self, topic: str) -> list[dict[str, Any]]:
        """All that was published to a topic, in any lane, in order: for a test to look at."""
        return [from_json(event) for _, event in self._log[MEMORY.spell(topic)]]

    async def settled(self) -> None:
        """Return when nothing is being handled. What waits for an app that is away goes on waiting."""
        while under_way := [
            task
            for groups in self._groups.values()
            for group in groups.values()
            for member in group.members
            for task in member.under_way
        ]:
            await asyncio.wait(under_way)

    def _take(self, topic: str, lane: Lane, event: bytes) -> None:
        way = MEMORY.spell(lane.topic)
        self._log[MEMORY.spell(topic)].append((way, event))
        for group in self._groups[way].values():
            group.waiting.append(_Held(event))
            self._hand_out(group)

    def _hand_out(self, group: _Group) -> None:
        while group.waiting and group.members:
            held = group.waiting.popleft()
            member = group.members[0]
            group.members.rotate(-1)
            self._hand_to(group, member, held)

    def _hand_to(self, group: _Group, member: _Member, held: _Held) -> None:
        task = asyncio.create_task(self._deliver(group, member, held))
        member.under_way.add(task)
        task.add_done_callback(member.under_way.discard)

    async def _deliver(self, group: _Group, member: _Member, held: _Held) -> None:
        try:
            status = await member.handle(from_json(held.event))
        except asyncio.CancelledError:
            self._return(group, held)
            raise
        if status == "SUCCESS":
            return
        if status == "RETRY" and held.attempt < self._attempts:
            held.attempt += 1
            # At the same replica, as its sidecar does, which is where attempts are counted.
            if member in group.members:
                self._hand_to(group, member, held)
            else:
                self._return(group, held)
        elif member.rules[0].dead_letter:
            self._take(DEAD_LETTERS, lane_of(DEAD_LETTERS), held.event)
        else:
            log.warning("an event on %s is dropped: its subscription has no dead letters", member.rules[0].topic)

    def _return(self, group: _Group, held: _Held) -> None:
        group.waiting.append(held)
        self._hand_out(group)
