"""The recorder's dead letters: what it keeps of each consumer, how it lists them, what can be done with them."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from dovecote import MessageType, Reject, topics
from dovecote.deadletters import DeadLetterRow
from dovecote.delivery import failure_of
from dovecote.effects import Effects
from dovecote.errors import (
    AgentUnavailableError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from dovecote.messages import now
from services.recorder import deadletters, resubmissions
from tests.support.eventually import eventually
from tests.support.office import TOPIC, Office, letter

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.promise("AOS-11")
async def test_a_dead_letter_has_its_reason_attempts_traceback_topic_consumer_and_time(office: Office) -> None:
    message = await office.send(letter(), ann=[UnavailableError("away")] * 9)
    kept = await office.show(message)
    assert kept.message == message
    assert [reason.attempt for reason in kept.reasons] == list(range(1, 10))
    last = kept.reasons[-1]
    assert (last.consumer, last.topic, last.error, last.reason) == ("ann", TOPIC, "UnavailableError", "away")
    assert last.traceback.startswith("Traceback")
    assert last.at is not None
    assert last.at <= now()
    assert [note.what for note in kept.consumers["ann"].notes] == []


@pytest.mark.promise("AOS-11")
async def test_each_consumer_has_its_own_dead_letter(office: Office) -> None:
    message = await office.send(letter(), ann=[Reject("no")], bob=[UnavailableError("away")])
    rows = await office.ls()
    assert [(row.id, row.consumer, row.reason) for row in rows] == [(message.id, "ann", "no")]
    assert office.bob.handled == [message]
    both = await office.send(letter(), ann=[Reject("no")], bob=[Reject("not I")])
    rows = await office.ls()
    assert {(row.consumer, row.reason) for row in rows if row.id == both.id} == {("ann", "no"), ("bob", "not I")}


async def test_what_is_tried_again_and_handled_is_no_dead_letter(office: Office) -> None:
    message = await office.send(letter(), ann=[UnavailableError("away")])
    assert await office.ls() == []
    assert (await office.show(message)).consumers["ann"].state == "handled"


async def test_a_letter_of_which_nobody_told_a_reason_is_kept_and_goes_to_whom_it_is_sent(office: Office) -> None:
    message = letter()
    await office.net.bus.publish(topics.DEAD_LETTERS, message)
    await office.net.bus.settled()
    [row] = await office.ls()
    assert (row.id, row.consumer, row.topic) == (message.id, "unknown", "")
    with pytest.raises(InvalidInputError, match="nobody told who gave up"):
        await office.act("resubmit", message)
    row = await office.act("resubmit", message, consumer="bob", topic=TOPIC)
    assert (row.consumer, row.state) == ("bob", "handled")
    assert (office.ann.handled, office.bob.handled) == ([], [message])
    assert await office.ls() == []


async def test_an_event_that_is_no_message_is_listed_and_can_only_be_discarded(office: Office) -> None:
    event = {"specversion": "1.0", "id": "odd", "source": "shop", "type": "x", "time": "noon"}
    await office.net.bus.publish_event(TOPIC, event)
    await office.net.bus.settled()
    rows = await office.ls()
    assert {(row.id, row.consumer, row.error) for row in rows} == {
        ("odd", "ann", "InvalidInputError"),
        ("odd", "bob", "InvalidInputError"),
    }
    odd = letter(id="odd")
    assert (await office.show(odd)).event == event
    with pytest.raises(InvalidInputError, match="is no message"):
        await office.act("resubmit", odd, consumer="ann")
    for consumer in ("ann", "bob"):
        await office.act("discard", odd, consumer=consumer)
    assert await office.ls() == []


@pytest.mark.promise("AOS-11")
async def test_a_resubmitted_letter_is_handled_once_with_its_id_by_who_gave_it_up(office: Office) -> None:
    message = await office.send(letter(), ann=[Reject("no")])
    row = await office.act("resubmit", message)
    assert (row.state, row.resubmissions) == ("handled", 1)
    assert office.ann.handled == [message]
    assert office.bob.handled == [message]  # when it came from the broker, and not again
    assert await Effects(office.ann.app.running.ports.state, "").get("count") == 1
    assert [note.what for note in (await office.show(message)).consumers["ann"].notes] == ["resubmitted", "handled"]
    assert await office.ls() == []
    with pytest.raises(InvalidInputError, match=r"no dead letter now: ann \(handled\)"):
        await office.act("resubmit", message)


@pytest.mark.promise("AOS-11")
async def test_a_second_failure_returns_a_letter_with_both_reasons(office: Office) -> None:
    message = await office.send(letter(), ann=[Reject("no"), UnavailableError("away")])
    row = await office.act("resubmit", message)
    assert (row.state, row.reason, row.resubmissions, row.attempts) == ("open", "away", 1, 2)
    kept = await office.show(message)
    assert [(reason.reason, reason.resubmission) for reason in kept.reasons] == [("no", 0), ("away", 1)]
    assert "UnavailableError: away" in kept.reasons[1].traceback
    assert [row.reason for row in await office.ls()] == ["away"]
    assert (await office.act("resubmit", message)).state == "handled"


async def test_whether_a_letter_may_succeed_as_it_is_can_be_seen(office: Office) -> None:
    rejected = await office.send(letter(), ann=[Reject("no")])
    away = await office.send(letter(), ann=[UnavailableError("away")] * 9)
    assert {row.id: row.retryable for row in await office.ls()} == {rejected.id: False, away.id: True}


async def test_resubmissions_of_one_letter_are_limited(office: Office) -> None:
    message = await office.send(letter(), ann=[Reject("no")] * 9)
    for _ in range(2):
        assert (await office.act("resubmit", message)).state == "open"
    with pytest.raises(ConflictError, match="was resubmitted to 'ann' 2 times, which is the most"):
        await office.act("resubmit", message)
    assert len((await office.show(message)).reasons) == 3
    assert [row.id for row in await office.ls()] == [message.id]


async def test_two_resubmissions_at_once_are_one(office: Office) -> None:
    message = await office.send(letter(), ann=[Reject("no")])
    rows = await asyncio.gather(*(office.act("resubmit", message) for _ in range(5)), return_exceptions=True)
    assert [row.state for row in rows if isinstance(row, DeadLetterRow)] == ["handled"]
    assert all(isinstance(row, DeadLetterRow | ConflictError | InvalidInputError) for row in rows)
    assert office.ann.handled == [message]


async def test_a_consumer_that_does_not_run_leaves_the_letter_as_it_was(office: Office) -> None:
    message = await office.send(letter(), ann=[Reject("no")])
    await office.net.stop("ann")
    for _ in range(3):
        with pytest.raises(AgentUnavailableError, match="app 'ann' cannot be reached"):
            await office.act("resubmit", message)
    await office.net.start("ann")
    assert [(row.state, row.resubmissions) for row in await office.ls()] == [("open", 0)]
    assert (await office.show(message)).consumers["ann"].notes == []
    assert (await office.act("resubmit", message)).state == "handled"


async def test_a_consumer_that_no_longer_subscribes_says_so(office: Office) -> None:
    message = letter()
    told = failure_of(message.id, "test/gone", "ann", Reject("no"), attempt=1, verdict="DROP")
    await office.net.bus.publish(topics.FAILURES, told)
    await office.net.bus.publish(topics.DEAD_LETTERS, message)
    await office.net.bus.settled()
    with pytest.raises(NotFoundError, match="app 'ann' does not subscribe to topic 'test/gone' any more"):
        await office.act("resubmit", message)
    assert [row.resubmissions for row in await office.ls()] == [0]


async def test_who_gave_it_up_may_be_told_while_it_is_resubmitted(office: Office) -> None:
    message, office.bob.waits = letter(), asyncio.Event()
    await office.net.bus.publish(topics.DEAD_LETTERS, message)
    await office.net.bus.settled()
    acting = asyncio.create_task(office.act("resubmit", message, consumer="bob", topic=TOPIC))
    await eventually(lambda: office.bob.begun == [message], "bob at work")
    told = failure_of(message.id, TOPIC, "ann", UnavailableError("away"), attempt=9, verdict="RETRY")
    await office.net.bus.publish(topics.FAILURES, told)
    await office.net.bus.settled()
    office.bob.waits.set()
    assert (await acting).state == "handled"
    assert [row.consumer for row in await office.ls()] == ["ann"]


async def test_a_letter_that_its_consumer_may_still_handle_is_not_handed_over_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = await office.send(letter(), ann=[Reject("no")])
    office.ann.waits = asyncio.Event()
    monkeypatch.setattr(resubmissions, "_LIMIT", 0.2)
    with pytest.raises(UnavailableError, match=r"did not answer within 0\.2 s"):
        await office.act("resubmit", message)
    for what in ("resubmit", "discard"):
        with pytest.raises(ConflictError, match="is being resubmitted"):
            await office.act(what, message)
    assert office.ann.begun == [message, message]  # from the broker, and then once
    assert [(row.state, row.resubmissions) for row in await office.ls()] == [("open", 1)]
    monkeypatch.setattr(deadletters, "now", lambda: now() + timedelta(minutes=3))
    monkeypatch.setattr(resubmissions, "now", lambda: now() + timedelta(minutes=3))
    office.ann.waits.set()
    assert (await office.act("resubmit", message)).state == "handled"


async def test_an_expired_letter_is_not_resubmitted(office: Office) -> None:
    message = await office.send(letter(deadline=now() - timedelta(seconds=1)))
    with pytest.raises(InvalidInputError, match="has expired"):
        await office.act("resubmit", message, consumer="ann")


@pytest.mark.promise("AOS-11")
async def test_a_discarded_letter_is_listed_no_more_and_leaves_a_line(office: Office) -> None:
    message = await office.send(letter(), ann=[Reject("no")])
    row = await office.act("discard", message, why="a test of the shop's")
    assert row.state == "discarded"
    assert await office.ls() == []
    [note] = (await office.show(message)).consumers["ann"].notes
    assert (note.what, note.text) == ("discarded", "a test of the shop's")
    with pytest.raises(InvalidInputError, match=r"ann \(discarded\)"):
        await office.act("resubmit", message)


async def test_of_several_consumers_one_must_be_named(office: Office) -> None:
    message = await office.send(letter(), ann=[Reject("no")], bob=[Reject("not I")])
    with pytest.raises(InvalidInputError, match="several consumers: ann, bob"):
        await office.act("discard", message)
    await office.act("discard", message, consumer="bob")
    assert [row.consumer for row in await office.ls()] == ["ann"]
    with pytest.raises(InvalidInputError, match="no dead letter of 'bob' now"):
        await office.act("resubmit", message, consumer="bob")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?consumer=ann", {"a", "b"}),
        ("?consumer=bob", set()),
        ("?type=task", {"b"}),
        ("?sender=shop", {"a"}),
        ("?topic=test/letters", {"a", "b"}),
        ("?topic=test/%2B", {"a", "b"}),
        ("?topic=other/%23", set()),
        ("?reason=LAMP", {"a"}),
        ("?reason=Reject", {"a", "b"}),
        ("?since=2026-01-01T00:00:00Z", {"a", "b"}),
        ("?since=2999-01-01T00:00:00Z", set()),
        ("?since=2026-01-01T00:00:00", {"a", "b"}),
        ("?reason=lamp&type=task", set()),
    ],
)
async def test_letters_are_found_by_what_they_are(office: Office, query: str, found: set[str]) -> None:
    await office.send(letter(id="a", sender="shop"), ann=[Reject("the lamp is out")])
    await office.send(letter(id="b", type=MessageType.TASK), ann=[Reject("no oil")])
    assert {row.id for row in await office.ls(query)} == found


@pytest.mark.parametrize("query", ["?limit=0", "?limit=101", "?since=soon", "?colour=red"])
async def test_a_wrong_filter_is_refused(office: Office, query: str) -> None:
    with pytest.raises(InvalidInputError, match="query"):
        await office.ls(query)


async def test_a_listing_goes_through_all_letters_once_newest_first(office: Office) -> None:
    count = 230
    for number in range(count):
        await office.send(letter(id=f"m{number}"), ann=[Reject("no")])
    seen: list[str] = []
    query = "?limit=40"
    while True:
        page: Any = await office.net.invoke("recorder", f"deadletters{query}", verb="GET")
        seen += [row["id"] for row in page["rows"]]
        if page["next"] is None:
            break
        # What is acted on meanwhile hides nothing of what follows.
        await office.act("discard", letter(id=page["rows"][0]["id"]))
        query = f"?limit=40&cursor={page['next']}"
    assert seen == [f"m{number}" for number in reversed(range(count))]
