"""Sources in results, and the news of a task."""

import pytest

from dovecote import Source, TaskEvent, cited, topics
from dovecote.feed import Feed
from dovecote.results import sources_in
from dovecote.testing import MemoryBus
from tests.support.eventually import eventually


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        ({"passages": [{"source": "a.md:1-2", "text": "x"}, {"source": "b.md:3-4"}]}, ["a.md:1-2", "b.md:3-4"]),
        ([[{"deep": {"source": "a.md:1-2"}}], {"source": "b.md:1-1"}], ["a.md:1-2", "b.md:1-1"]),
        ({"source": 17}, []),
        ("source", []),
        (None, []),
        ({"value": 14}, []),
    ],
)
def test_every_object_with_a_label_is_a_source(value: object, labels: list[str]) -> None:
    assert [source.source for source in sources_in(value)] == labels


def _sources(*labels: str) -> list[Source]:
    return [Source(source=label) for label in labels]


def test_sources_are_cited_once_each_in_the_order_of_the_text() -> None:
    found = cited(
        "Two [b.md:1-2], one [a.md:1-2], two again [b.md:1-2].", _sources("a.md:1-2", "b.md:1-2", "c.md:1-2")
    )
    assert [source.source for source in found] == ["b.md:1-2", "a.md:1-2"]


def test_a_label_that_is_part_of_another_is_not_cited_by_it() -> None:
    found = cited("See [data.md:1-10].", _sources("a.md:1-1", "data.md:1-1", "data.md:1-10"))
    assert [source.source for source in found] == ["data.md:1-10"]


def _event(number: int) -> TaskEvent:
    return TaskEvent(id=f"e{number}", task_id="t", kind="step", agent="a", text=str(number))


async def test_what_was_told_is_published_in_order_before_the_feed_closes() -> None:
    bus = MemoryBus()
    feed = Feed(bus)
    for number in range(50):
        feed.tell(_event(number))
    await feed.close()
    assert [event["id"] for event in bus.events(topics.TASK_EVENTS)] == [f"e{number}" for number in range(50)]


async def test_news_that_cannot_be_published_does_not_stop_the_feed(caplog: pytest.LogCaptureFixture) -> None:
    bus = MemoryBus()
    feed = Feed(bus)
    bus.available = False
    feed.tell(_event(1))
    await eventually(lambda: "could not be published" in caplog.text, "the warning")
    bus.available = True
    feed.tell(_event(2))
    await feed.close()
    assert [event["id"] for event in bus.events(topics.TASK_EVENTS)] == ["e2"]
