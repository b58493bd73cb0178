"""Logs that are published, and those that must not be."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dovecote import App, Message
from dovecote.errors import ConfigurationError, TooLargeError, UnavailableError
from dovecote.logtopics import LogPublisher, level_of
from dovecote.settings import Settings, get_settings
from dovecote.testing import MemoryBus, Network
from tests.support.eventually import eventually

log = logging.getLogger("tests.work")


@asynccontextmanager
async def _network(**settings: Any) -> AsyncIterator[tuple[App, Network]]:
    worker = App("worker")
    async with Network([worker], settings=Settings(**settings)) as net:
        yield worker, net


def _texts(bus: MemoryBus, topic: str) -> list[str]:
    return [event["data"]["message"] for event in bus.events(topic)]


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


@pytest.mark.promise("ARG-11")
async def test_a_record_goes_to_the_topic_of_its_level_and_to_that_of_its_component() -> None:
    async with _network(pub_log_topic="logs") as (_, net):
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
            log.log(level, "at %d", level)
    assert _texts(net.bus, "logs/debug").count("at 10") == 1
    assert _texts(net.bus, "logs/info") == ["at 20"]
    assert _texts(net.bus, "logs/warning") == ["at 30"]
    assert _texts(net.bus, "logs/error") == ["at 40", "at 50"]
    mine = [text for text in _texts(net.bus, "logs/agent/worker") if text.startswith("at ")]
    assert mine == ["at 10", "at 20", "at 30", "at 40", "at 50"]
    (told,) = net.bus.events("logs/info")
    assert told["source"] == "worker"
    assert told["data"]["logger"] == "tests.work"
    assert (told["data"]["level"], told["data"]["app"]) == ("info", "worker")


@pytest.mark.promise("ARG-14")
async def test_all_records_go_to_the_one_topic_that_is_named() -> None:
    async with _network(pub_log_topic="logs/debug") as (_, net):
        log.error("broken")
    assert "broken" in _texts(net.bus, "logs/debug")
    assert net.bus.events("logs/error") == net.bus.events("logs/agent/worker") == []


@pytest.mark.promise("ARG-11")
async def test_nothing_is_published_if_nothing_is_said() -> None:
    assert Settings().pub_log_topic == ""
    async with _network() as (_, net):
        log.error("broken")
    assert net.bus.events("logs/error") == []


async def test_a_failing_handler_of_published_logs_makes_no_further_ones() -> None:
    worker = App("worker")

    @worker.subscribe("logs/warning")
    async def take(message: Message) -> None:
        log.warning("this is about a log")
        raise RuntimeError("no")

    async with Network([worker], settings=Settings(pub_log_topic="logs")) as net:
        log.warning("look")
        await eventually(lambda: net.bus.events("logs/warning"), "the log")
        await net.bus.settled()
    assert _texts(net.bus, "logs/warning") == ["look"]


@pytest.mark.parametrize("name", ["dovecote.dapr.bus", "aiohttp.client", "grpc", "asyncio"])
async def test_what_carries_messages_does_not_publish_what_it_logs(name: str) -> None:
    async with _network(pub_log_topic="logs") as (_, net):
        logging.getLogger(name).error("broken")
    assert net.bus.events("logs/error") == []


class Away(MemoryBus):
    """A bus that takes nothing, and says so in the log, as a client of a broker does."""

    async def publish_batch(self, topic: str, messages: Sequence[Message]) -> None:
        await asyncio.create_task(self._complain())
        raise UnavailableError(f"{topic!r}: {len(messages)} were not taken")

    async def _complain(self) -> None:
        logging.getLogger("some.client").error("cannot connect")


class Narrow(MemoryBus):
    """A bus that takes no batch in which something is large."""

    async def publish_batch(self, topic: str, messages: Sequence[Message]) -> None:
        if any("large" in str(message.content) for message in messages):
            raise TooLargeError(f"{topic!r}: over the limit")
        await super().publish_batch(topic, messages)


@pytest.mark.promise("ARG-11")
async def test_a_record_that_is_too_large_is_the_only_one_lost() -> None:
    bus = Narrow()
    publisher = LogPublisher(bus, "worker", "logs")
    async with publisher.publishing():
        log.error("a large one")
        log.info("small")
    assert (_texts(bus, "logs/error"), _texts(bus, "logs/info")) == ([], ["small"])
    assert "small" in _texts(bus, "logs/agent/worker")


async def test_records_made_while_publishing_are_not_published_and_what_was_lost_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    publisher = LogPublisher(Away(), "worker", "logs", interval=0.05)
    async with publisher.publishing():
        log.error("one")
        await eventually(lambda: "1 log records were not published" in caplog.text, "the count")
    complaints = [record for record in caplog.records if record.name == "some.client"]
    assert 0 < len(complaints) <= 4


@pytest.mark.promise("ARG-11")
async def test_what_is_over_the_rate_is_dropped_counted_and_told_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = MemoryBus()
    publisher = LogPublisher(bus, "worker", "logs", rate=0.001)
    async with publisher.publishing():
        for number in range(100):
            log.info("number %d", number)
    assert _texts(bus, "logs/info") == ["number 0"]
    told = [text for text in _texts(bus, "logs/warning") if text.startswith("99 log records")]
    assert len(told) == 1
    assert sum("99 log records" in record.getMessage() for record in caplog.records) == 1


async def test_a_thread_may_log_and_waits_for_nothing() -> None:
    async with _network(pub_log_topic="logs") as (_, net):
        await asyncio.to_thread(log.error, "from a thread")
        await eventually(lambda: net.bus.events("logs/error"), "the log")


def test_a_level_between_two_counts_as_the_lower_one() -> None:
    record = logging.LogRecord("a", 25, "a.py", 1, "x", None, None)
    assert level_of(record) == "info"


@pytest.mark.promise("ARG-14")
@pytest.mark.parametrize("written", ["DEBUG", "debug", "Debug"])
def test_the_level_of_logs_is_read_as_the_document_writes_it(written: str) -> None:
    assert Settings.model_validate({"log_level": written}).log_level == "debug"


@pytest.mark.parametrize("topic", ["news", "logs/", "logs/#", "logs/UPPER"])
def test_a_topic_that_is_none_of_logs_stops_the_start(monkeypatch: pytest.MonkeyPatch, topic: str) -> None:
    monkeypatch.setenv("DOVECOTE_PUB_LOG_TOPIC", topic)
    get_settings.cache_clear()
    with pytest.raises(ConfigurationError, match="DOVECOTE_PUB_LOG_TOPIC"):
        get_settings()
    get_settings.cache_clear()
