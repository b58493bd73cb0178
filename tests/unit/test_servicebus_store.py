"""The stand-in's namespace: who gets a message, for how long, and what becomes of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servicebus.store import DEAD_LETTERS, TOO_MANY, Locked, Posted, Store

LOCK_SECONDS = 15.0
MAX_DELIVERIES = 3


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "namespace.db"


@pytest.fixture
def store(file: Path, clock: Clock) -> Iterator[Store]:
    opened = open_store(file, clock)
    yield opened
    opened.close()


def open_store(file: Path, clock: Clock) -> Store:
    return Store(file, lock_seconds=LOCK_SECONDS, max_deliveries=MAX_DELIVERIES, clock=clock)


@pytest.fixture
def entity(store: Store) -> str:
    """A subscription."""
    return store.subscribe("news", "writer")


def publish(store: Store, *bodies: bytes) -> list[str]:
    return store.publish("news", [Posted(body) for body in bodies])


def taken(store: Store, entity: str) -> Locked:
    locked = store.take(entity)
    assert locked is not None
    return locked


def test_each_subscription_gets_each_message_once_and_in_order(store: Store, entity: str) -> None:
    other = store.subscribe("news", "reviewer")
    assert publish(store, b"1", b"2") == [entity, other]
    for one in (entity, other):
        assert [taken(store, one).body for _ in range(2)] == [b"1", b"2"]
        assert store.take(one) is None


def test_what_is_published_before_the_first_subscription_is_lost(store: Store) -> None:
    assert publish(store, b"1") == []
    assert store.take(store.subscribe("news", "writer")) is None


def test_a_completed_message_is_gone(store: Store, entity: str, clock: Clock) -> None:
    publish(store, b"1")
    assert store.complete(taken(store, entity).token)
    clock.now += LOCK_SECONDS
    assert store.end_locks() == 0
    assert store.take(entity) is None


def test_an_abandoned_message_comes_back_before_the_later_ones(store: Store, entity: str) -> None:
    publish(store, b"1", b"2")
    assert store.abandon(taken(store, entity).token)
    again = taken(store, entity)
    assert (again.body, again.deliveries) == (b"1", 1)


def test_a_released_message_comes_back_uncounted(store: Store, entity: str) -> None:
    publish(store, b"1")
    assert store.release(taken(store, entity).token)
    assert taken(store, entity).deliveries == 0


def test_a_message_whose_lock_runs_out_goes_to_another_receiver(store: Store, entity: str, clock: Clock) -> None:
    publish(store, b"1")
    lost = taken(store, entity)
    assert lost.locked_until == clock.now + LOCK_SECONDS
    clock.now += LOCK_SECONDS - 1
    assert store.end_locks() == 0
    assert store.take(entity) is None
    clock.now += 1
    assert store.end_locks() == 1
    again = taken(store, entity)
    assert (again.body, again.deliveries) == (b"1", 1)
    assert not store.complete(lost.token)
    assert store.renew(lost.token) is None
    assert store.complete(again.token)


def test_a_renewed_lock_lasts_longer(store: Store, entity: str, clock: Clock) -> None:
    publish(store, b"1")
    locked = taken(store, entity)
    clock.now += LOCK_SECONDS - 1
    assert store.renew(locked.token) == clock.now + LOCK_SECONDS
    clock.now += LOCK_SECONDS - 1
    assert store.end_locks() == 0
    assert store.complete(locked.token)


def test_a_message_delivered_too_often_is_a_dead_letter(store: Store, entity: str) -> None:
    publish(store, b"1")
    for _ in range(MAX_DELIVERIES):
        store.abandon(taken(store, entity).token)
    assert store.take(entity) is None
    dead = taken(store, f"{entity}/{DEAD_LETTERS}")
    assert (dead.body, dead.reason) == (b"1", TOO_MANY)


def test_a_dead_letter_keeps_its_reason(store: Store, entity: str) -> None:
    publish(store, b"1")
    assert store.dead_letter(taken(store, entity).token, "Poison", "cannot be read")
    dead = taken(store, f"{entity}/{DEAD_LETTERS}")
    assert (dead.reason, dead.description, dead.deliveries) == ("Poison", "cannot be read", 0)


def test_an_expired_message_is_not_delivered(store: Store, entity: str, clock: Clock) -> None:
    store.publish("news", [Posted(b"1", ttl=5), Posted(b"2")])
    clock.now += 5
    assert taken(store, entity).body == b"2"


def test_all_is_there_after_a_restart_and_nothing_is_locked(
    store: Store, entity: str, file: Path, clock: Clock
) -> None:
    publish(store, b"1", b"2")
    taken(store, entity)
    store.close()
    again = open_store(file, clock)
    assert [taken(again, entity).body for _ in range(2)] == [b"1", b"2"]
    assert again.publish("news", [Posted(b"3")]) == [entity]
    again.close()


def test_a_session_is_given_out_once_and_its_messages_in_order(store: Store, entity: str) -> None:
    store.publish("news", [Posted(b"a1", "a"), Posted(b"b1", "b"), Posted(b"a2", "a")])
    assert store.free_session(entity, set()) == "a"
    assert store.free_session(entity, {"a"}) == "b"
    assert store.free_session(entity, {"a", "b"}) is None
    first = store.take(entity, "a")
    second = store.take(entity, "a")
    assert first is not None
    assert second is not None
    assert (first.body, second.body) == (b"a1", b"a2")
    assert store.take(entity, "a") is None


def test_a_session_whose_receiver_leaves_goes_on_where_it_was(store: Store, entity: str) -> None:
    store.publish("news", [Posted(b"a1", "a"), Posted(b"a2", "a")])
    store.take(entity, "a")
    assert store.end_session(entity, "a") == 1
    again = store.take(entity, "a")
    assert again is not None
    assert (again.body, again.deliveries) == (b"a1", 1)


def test_the_locks_of_a_session_are_renewed_together(store: Store, entity: str, clock: Clock) -> None:
    store.publish("news", [Posted(b"a1", "a"), Posted(b"b1", "b")])
    store.take(entity, "a")
    store.take(entity, "b")
    clock.now += LOCK_SECONDS - 1
    store.renew_session(entity, "a")
    clock.now += 1
    assert store.end_locks() == 1
    assert store.free_session(entity, {"a"}) == "b"
