"""The broker's queues: one for each topic and consumer group, without sockets and without a clock.

A message is copied to every group that has subscribed to its topic. Within a group it goes to one member that has
room for it, and stays in the queue, as under way, until that member acknowledges it.
"""

import heapq
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

LEASE: Final = 4.0
"""Seconds for which a member counts as alive after its last sign of life."""
RETENTION: Final = 300.0
"""Seconds for which a group without members keeps its messages."""
_FIRST_DELAY: Final = 0.1
_LONGEST_DELAY: Final = 15.0

Member = bytes
Name = tuple[bytes, bytes]


@dataclass(frozen=True)
class Message:
    """What a publisher sent: its metadata as JSON, and the data."""

    metadata: bytes
    data: bytes


@dataclass
class Delivery:
    """A message on its way to one group; its number is the broker's own."""

    number: int
    topic: bytes
    group: bytes
    message: Message
    rejected: int = 0
    member: Member = b""
    sent: float = 0.0


@dataclass
class Queue:
    """What one group has yet to acknowledge of one topic. Members are in the order of their turns."""

    waiting: deque[Delivery] = field(default_factory=deque)
    rejected: list[tuple[float, int, Delivery]] = field(default_factory=list)
    members: dict[Member, int] = field(default_factory=dict)  # how many each may have
    load: dict[Member, int] = field(default_factory=dict)  # how many each has
    left: float = 0.0

    def __len__(self) -> int:
        return len(self.waiting) + len(self.rejected) + sum(self.load.values())

    def next_deliveries(self, now: float) -> Iterator[Delivery]:
        """Deliveries for which a member has room, each noted as under way to its `member`."""
        while self.rejected and self.rejected[0][0] <= now:
            self.waiting.append(heapq.heappop(self.rejected)[2])
        while self.waiting and (member := self._free_member()) is not None:
            delivery = self.waiting.popleft()
            delivery.member, delivery.sent = member, now
            self.load[member] = self.load.get(member, 0) + 1
            yield delivery

    def _free_member(self) -> Member | None:
        # Whose turn it is among those with room goes to the end of the line.
        for member, credit in self.members.items():
            if self.load.get(member, 0) < credit:
                self.members[member] = self.members.pop(member)
                return member
        return None

    def remove(self, member: Member, now: float) -> None:
        """Give a member nothing more; what it has stays with it."""
        if self.members.pop(member, None) is not None and not self.members:
            self.left = now

    def take_back(self, delivery: Delivery) -> None:
        """Note that a delivery is no longer with its member."""
        self.load[delivery.member] -= 1
        if not self.load[delivery.member]:
            del self.load[delivery.member]


class Queues:
    """All queues of a broker; `limit` is what one may hold, `now` is always seconds of one monotonic clock.

    Deliveries are numbered from `first` on. A broker that starts again has to begin with a higher number than the
    last one had, or a late acknowledgement would hit a wrong message.
    """

    def __init__(self, limit: int, first: int = 1) -> None:
        self._limit = limit
        self._number = first - 1
        self._queues: dict[Name, Queue] = {}
        self._groups: dict[bytes, set[bytes]] = {}
        self._under_way: dict[int, Delivery] = {}
        self._alive: dict[Member, float] = {}
        self._ready: set[Name] = set()
        self._wakes: list[tuple[float, Name]] = []  # when a queue has something to deliver again

    def publish(self, topic: bytes, messages: Sequence[Message]) -> int:
        """Queue messages for every group of the topic; returns how many of them, from the first on, had room."""
        names = [(topic, group) for group in self._groups.get(topic, ())]
        room = min((self._limit - len(self._queues[name]) for name in names), default=len(messages))
        taken = messages[: max(room, 0)]
        for name in names:
            waiting = self._queues[name].waiting
            for message in taken:
                self._number += 1
                waiting.append(Delivery(self._number, *name, message))
            self._ready.add(name)
        return len(taken)

    def subscribe(self, member: Member, topic: bytes, group: bytes, credit: int, now: float) -> None:
        """Let a member have up to `credit` messages of a queue at once; with 0 it gets no more."""
        self._alive[member] = now
        name = (topic, group)
        if credit:
            if name not in self._queues:
                self._queues[name] = Queue()
                self._groups.setdefault(topic, set()).add(group)
            self._queues[name].members[member] = credit
            self._ready.add(name)
        elif name in self._queues:
            self._queues[name].remove(member, now)

    def acknowledge(self, member: Member, number: int) -> None:
        """Forget a message that a member has handled; nothing happens if it is no longer with that member."""
        self._take_back(member, number)

    def reject(self, member: Member, number: int, now: float) -> None:
        """Deliver again, to any member, what one has failed at: later each time it fails."""
        if (delivery := self._take_back(member, number)) is not None:
            delivery.rejected += 1
            delay = min(_FIRST_DELAY * 2.0 ** (delivery.rejected - 1), _LONGEST_DELAY)
            queue = self._queues[delivery.topic, delivery.group]
            heapq.heappush(queue.rejected, (now + delay, number, delivery))
            heapq.heappush(self._wakes, (now + delay, (delivery.topic, delivery.group)))

    def release(self, member: Member, number: int) -> None:
        """Deliver again, to any member and before others, what one has not begun or not finished."""
        if (delivery := self._take_back(member, number)) is not None:
            self._queues[delivery.topic, delivery.group].waiting.appendleft(delivery)

    def beat(self, member: Member, held: Collection[int], now: float) -> bool:
        """Note a sign of life and what the member holds; what it should hold and does not is delivered again.

        Returns False for an unknown member: it has to subscribe again.
        """
        if member not in self._alive:
            return False
        self._alive[member] = now
        for delivery in self._of(member):
            if delivery.number not in held and now - delivery.sent > LEASE:
                self.release(member, delivery.number)
        return True

    def leave(self, member: Member, now: float) -> int:
        """Forget a member; what it had goes to others. Returns how many messages that are."""
        self._alive.pop(member, None)
        had = self._of(member)
        for delivery in reversed(had):
            self.release(member, delivery.number)
        for queue in self._queues.values():
            queue.remove(member, now)
        return len(had)

    def lost(self, now: float) -> list[Member]:
        """Members that have given no sign of life for longer than the lease."""
        return [member for member, seen in self._alive.items() if now - seen > LEASE]

    def forget_groups(self, now: float) -> list[tuple[Name, int]]:
        """Forget groups that have had no member for too long; returns their names and how much they had."""
        old = [
            (name, len(queue))
            for name, queue in self._queues.items()
            if not queue.members and not queue.load and now - queue.left > RETENTION
        ]
        for name, _ in old:
            del self._queues[name]
            self._groups[name[0]].discard(name[1])
        return old

    def due(self, now: float) -> list[Delivery]:
        """Deliveries to send now, each already noted as under way to its `member`."""
        while self._wakes and self._wakes[0][0] <= now:
            self._ready.add(heapq.heappop(self._wakes)[1])
        names, self._ready = self._ready & self._queues.keys(), set()
        deliveries = [delivery for name in names for delivery in self._queues[name].next_deliveries(now)]
        self._under_way.update((delivery.number, delivery) for delivery in deliveries)
        return deliveries

    def has_group(self, topic: bytes) -> bool:
        """Whether anybody has subscribed to the topic."""
        return bool(self._groups.get(topic))

    def _take_back(self, member: Member, number: int) -> Delivery | None:
        delivery = self._under_way.get(number)
        if delivery is None or delivery.member != member:
            return None
        del self._under_way[number]
        name = (delivery.topic, delivery.group)
        self._queues[name].take_back(delivery)
        self._ready.add(name)
        return delivery

    def _of(self, member: Member) -> list[Delivery]:
        return [delivery for delivery in self._under_way.values() if delivery.member == member]
