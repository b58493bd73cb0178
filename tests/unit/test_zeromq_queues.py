"""The ZeroMQ broker's queues, without sockets: who gets which message, and when it is gone."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from services.zeromq_pubsub.queues import LEASE, RETENTION, Delivery, Message, Queues

TOPIC = b"agents.writer.inbox"


def messages(count: int) -> list[Message]:
    return [Message(b"{}", b"%d" % number) for number in range(count)]


def data(deliveries: list[Delivery]) -> list[bytes]:
    return [delivery.message.data for delivery in deliveries]


def test_each_group_gets_every_message_and_in_a_group_one_member_each() -> None:
    queues = Queues(100)
    for member, group in ((b"a1", b"a"), (b"a2", b"a"), (b"b1", b"b")):
        queues.subscribe(member, TOPIC, group, 10, 0)
    assert queues.publish(TOPIC, messages(10)) == 10
    due = queues.due(0)
    assert sorted(data([one for one in due if one.group == b"b"])) == sorted(m.data for m in messages(10))
    assert sorted(data([one for one in due if one.group == b"a"])) == sorted(m.data for m in messages(10))
    shares = [sum(one.member == member for one in due) for member in (b"a1", b"a2")]
    assert shares == [5, 5]


def test_a_topic_that_begins_with_the_name_of_another_is_another() -> None:
    queues = Queues(100)
    queues.subscribe(b"m", b"tasks", b"g", 10, 0)
    queues.publish(b"tasks.events", messages(1))
    queues.publish(b"task", messages(1))
    assert queues.due(0) == []
    assert queues.has_group(b"tasks")
    assert not queues.has_group(b"tasks.events")


def test_a_member_has_no_more_under_way_than_it_has_room_for() -> None:
    queues = Queues(100)
    queues.subscribe(b"m", TOPIC, b"g", 2, 0)
    queues.publish(TOPIC, messages(5))
    first = queues.due(0)
    assert data(first) == [b"0", b"1"]
    assert queues.due(0) == []
    queues.acknowledge(b"m", first[0].number)
    assert data(queues.due(0)) == [b"2"]


def test_a_full_queue_takes_what_it_has_room_for_and_nothing_of_the_rest() -> None:
    queues = Queues(3)
    queues.subscribe(b"slow", TOPIC, b"slow", 1, 0)
    queues.subscribe(b"fast", TOPIC, b"fast", 10, 0)
    assert queues.publish(TOPIC, messages(5)) == 3
    delivered = queues.due(0)
    for one in delivered:
        if one.group == b"fast":
            queues.acknowledge(b"fast", one.number)
    assert queues.publish(TOPIC, messages(1)) == 0, "the slow group holds three, one of them under way"
    slow = next(one for one in delivered if one.group == b"slow")
    queues.acknowledge(b"slow", slow.number)
    assert queues.publish(TOPIC, messages(2)) == 1


def test_a_rejected_message_comes_again_and_later_each_time() -> None:
    queues = Queues(100)
    queues.subscribe(b"m", TOPIC, b"g", 1, 0)
    queues.publish(TOPIC, messages(1))
    now, waits = 0.0, []
    for _ in range(12):
        [delivery] = queues.due(now)
        queues.reject(b"m", delivery.number, now)
        began = now
        while not (due := queues.due(now)):
            now += 0.05
        queues.release(b"m", due[0].number)
        waits.append(round(now - began, 3))
    assert waits[0] < 0.2
    assert waits == sorted(waits)
    assert waits[-1] <= 15.1


def test_a_rejected_message_does_not_hold_up_others() -> None:
    queues = Queues(100)
    queues.subscribe(b"m", TOPIC, b"g", 1, 0)
    queues.publish(TOPIC, messages(2))
    [first] = queues.due(0)
    queues.reject(b"m", first.number, 0)
    assert data(queues.due(0)) == [b"1"]


def test_what_a_forgotten_group_had_rejected_is_gone_and_a_new_group_of_its_name_works() -> None:
    queues = Queues(100)
    queues.subscribe(b"m", TOPIC, b"g", 1, 0)
    queues.publish(TOPIC, messages(1))
    queues.reject(b"m", queues.due(0)[0].number, 0)
    queues.leave(b"m", 0)
    assert queues.forget_groups(1 + RETENTION) == [((TOPIC, b"g"), 1)]
    assert queues.due(2 + RETENTION) == []
    queues.subscribe(b"m", TOPIC, b"g", 1, 2 + RETENTION)
    queues.publish(TOPIC, [Message(b"{}", b"new")])
    assert data(queues.due(2 + RETENTION)) == [b"new"]


def test_what_a_dead_member_had_goes_to_another_first() -> None:
    queues = Queues(100)
    queues.subscribe(b"dead", TOPIC, b"g", 2, 0)
    queues.publish(TOPIC, messages(3))
    assert data(queues.due(0)) == [b"0", b"1"]
    queues.subscribe(b"alive", TOPIC, b"g", 3, LEASE)
    assert data(queues.due(LEASE)) == [b"2"]
    assert queues.lost(LEASE) == []
    assert queues.lost(LEASE + 1) == [b"dead"]
    assert queues.leave(b"dead", LEASE + 1) == 2
    again = queues.due(LEASE + 1)
    assert data(again) == [b"0", b"1"]
    assert {one.member for one in again} == {b"alive"}


def test_an_acknowledgement_of_a_message_that_went_to_another_changes_nothing() -> None:
    queues = Queues(100)
    queues.subscribe(b"slow", TOPIC, b"g", 1, 0)
    queues.publish(TOPIC, messages(1))
    [first] = queues.due(0)
    queues.leave(b"slow", 0)
    queues.subscribe(b"other", TOPIC, b"g", 1, 0)
    [again] = queues.due(0)
    queues.acknowledge(b"slow", first.number)
    queues.leave(b"other", 0)
    queues.subscribe(b"third", TOPIC, b"g", 1, 0)
    assert data(queues.due(0)) == [b"0"]
    assert again.number == first.number


def test_a_message_that_got_lost_on_its_way_is_sent_again_while_the_member_lives() -> None:
    queues = Queues(100)
    queues.subscribe(b"m", TOPIC, b"g", 2, 0)
    queues.publish(TOPIC, messages(2))
    arrived, _ = queues.due(0)
    assert queues.beat(b"m", [arrived.number], 1)
    assert queues.due(1) == [], "it may still be on its way"
    assert queues.beat(b"m", [arrived.number], LEASE + 1)
    assert data(queues.due(LEASE + 1)) == [b"1"]


def test_a_member_that_the_broker_does_not_know_is_told_so() -> None:
    queues = Queues(100)
    assert not queues.beat(b"m", [], 0)
    queues.subscribe(b"m", TOPIC, b"g", 1, 0)
    assert queues.beat(b"m", [], 1)


def test_a_group_that_is_away_finds_its_messages_until_it_is_forgotten() -> None:
    queues = Queues(100)
    queues.subscribe(b"m", TOPIC, b"g", 1, 0)
    queues.subscribe(b"m", TOPIC, b"g", 0, 10)
    queues.publish(TOPIC, messages(3))
    assert queues.due(10) == []
    assert queues.forget_groups(10 + RETENTION) == []
    queues.subscribe(b"n", TOPIC, b"g", 3, 10 + RETENTION)
    assert data(queues.due(10 + RETENTION)) == [b"0", b"1", b"2"]
    queues.leave(b"n", 1000)
    assert queues.forget_groups(1001 + RETENTION) == [((TOPIC, b"g"), 3)]
    assert not queues.has_group(TOPIC)


def test_a_later_broker_does_not_take_an_acknowledgement_meant_for_the_one_before() -> None:
    before, after = Queues(10, first=1000), Queues(10, first=2000)
    deliveries = []
    for queues in (before, after):
        queues.subscribe(b"m", TOPIC, b"g", 1, 0)
        queues.publish(TOPIC, messages(1))
        deliveries.append(queues.due(0)[0])
    after.acknowledge(b"m", deliveries[0].number)
    assert after.leave(b"m", 0) == 1


class Play:
    """A broker's queues and three members, of whom each step is told."""

    def __init__(self) -> None:
        self.queues = Queues(20)
        self.now = 0.0
        self.taken = 0
        self.handled = set[bytes]()
        self.held: dict[bytes, list[Delivery]] = {member: [] for member in MEMBERS}
        self.come(MEMBERS[0])

    def publish(self, _: bytes) -> None:
        self.taken += self.queues.publish(TOPIC, [Message(b"", b"%d" % self.taken)])

    def due(self, _: bytes) -> None:
        for one in self.queues.due(self.now):
            self.held[one.member].append(one)

    def come(self, member: bytes) -> None:
        self.queues.subscribe(member, TOPIC, b"g", 2, self.now)

    def leave(self, member: bytes) -> None:
        self.queues.leave(member, self.now)
        self.held[member].clear()

    def beat(self, member: bytes) -> None:
        self.queues.beat(member, [one.number for one in self.held[member]], self.now)

    def acknowledge(self, member: bytes) -> None:
        if self.held[member]:
            one = self.held[member].pop()
            self.queues.acknowledge(member, one.number)
            self.handled.add(one.message.data)

    def reject(self, member: bytes) -> None:
        if self.held[member]:
            self.queues.reject(member, self.held[member].pop().number, self.now)

    def release(self, member: bytes) -> None:
        if self.held[member]:
            self.queues.release(member, self.held[member].pop().number)


MEMBERS = (b"m0", b"m1", b"m2")
STEPS = (Play.publish, Play.due, Play.come, Play.leave, Play.beat, Play.acknowledge, Play.reject, Play.release)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(MEMBERS)), max_size=60))
def test_whatever_happens_no_message_that_was_taken_is_lost(
    steps: list[tuple[Callable[[Play, bytes], None], bytes]],
) -> None:
    play = Play()
    for step, member in steps:
        play.now += 0.5
        step(play, member)
    for member in MEMBERS:
        play.leave(member)
    play.queues.subscribe(b"last", TOPIC, b"g", 100, play.now)
    play.handled.update(data(play.queues.due(play.now + 100)))
    assert play.handled == {b"%d" % number for number in range(play.taken)}
