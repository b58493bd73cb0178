"""The feed of task events, on a bus that does not take all of them."""

from collections.abc import Sequence

import pytest

from dovecote import Message
from dovecote.errors import ConfigurationError, DovecoteError, TooLargeError, UnavailableError
from dovecote.feed import Feed
from dovecote.results import TaskEvent
from dovecote.testing import MemoryBus


class Refusing(MemoryBus):
    """A bus that refuses any batch in which a message is refused."""

    def __init__(self, refused: str, error: DovecoteError) -> None:
        super().__init__()
        self._refused = refused
        self._error = error
        self.taken: list[str] = []

    async def publish_batch(self, topic: str, messages: Sequence[Message]) -> None:
        assert topic == "tasks/events"
        if self._refused in [message.id for message in messages]:
            raise self._error
        self.taken += [message.id for message in messages]


def _event(event_id: str) -> TaskEvent:
    return TaskEvent(id=event_id, task_id="t", kind="started", agent="tests", text="begun")


async def _publish(bus: Refusing, *ids: str) -> None:
    feed = Feed(bus)
    for event_id in ids:
        feed.tell(_event(event_id))
    await feed.close()


async def test_an_event_that_is_too_large_is_the_only_one_lost(caplog: pytest.LogCaptureFixture) -> None:
    bus = Refusing("2", TooLargeError("over the limit"))
    await _publish(bus, "1", "2", "3")
    assert bus.taken == ["1", "3"]
    assert "message '2'" in caplog.text


@pytest.mark.parametrize("error", [UnavailableError("away"), ConfigurationError("no such topic")])
async def test_the_feed_goes_on_after_any_refusal(error: DovecoteError, caplog: pytest.LogCaptureFixture) -> None:
    bus = Refusing("1", error)
    feed = Feed(bus)
    for event_id in ("1", "2"):
        feed.tell(_event(event_id))
        await feed.flush()
    await feed.close()
    assert bus.taken == ["2"]
    assert "could not be published" in caplog.text
