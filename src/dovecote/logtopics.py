"""Logs as messages: what a process logs, on `logs/<level>` and `logs/agent/<component>`, if that is wanted.

A log is news: it is published beside the work, at most once, and what is too much is dropped, counted and told.
What tells of publishing itself, or of the handling of a log that was published, never is published: else each log
would make another. Off by default; named after the logging section of Argentic's messaging configuration.
"""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Final

from dovecote.feed import publish_news
from dovecote.logs import fields_of
from dovecote.messages import Message, MessageType
from dovecote.ports import Publisher

log = logging.getLogger(__name__)

BY_LEVEL: Final = "logs"
_LEVELS: Final = ((logging.ERROR, "error"), (logging.WARNING, "warning"), (logging.INFO, "info"))
# Loggers of what carries messages, and of the loop that it runs in.
_CARRIERS: Final = (__name__, "dovecote.dapr", "dovecote.testing.bus", "dapr", "aiohttp", "grpc", "asyncio")
_WAITING: Final = 1000  # records that wait to be published, at most
_LAST: Final = 2.0  # seconds for what waits at the end
_UNPUBLISHED: ContextVar[bool] = ContextVar("unpublished", default=False)


@contextlib.contextmanager
def unpublished() -> Iterator[None]:
    """What is logged in this block, and in tasks begun in it, is not published."""
    token = _UNPUBLISHED.set(True)
    try:
        yield
    finally:
        _UNPUBLISHED.reset(token)


def level_of(record: logging.LogRecord) -> str:
    """The level of a record that has a topic: debug, info, warning or error."""
    return next((name for least, name in _LEVELS if record.levelno >= least), "debug")


class LogPublisher(logging.Handler):
    """A handler that publishes what a component (an app) logs; it returns at once, from any thread.

    With the topic `logs` a record goes to `logs/<level>` and to `logs/agent/<component>`, else to that topic alone.
    At most `rate` records a second are taken; those that are dropped are told in one line every `interval` seconds.
    """

    def __init__(
        self, bus: Publisher, component: str, topic: str, *, rate: float = 50.0, interval: float = 10.0
    ) -> None:
        super().__init__()
        self.dropped = 0
        self._bus = bus
        self._component = component
        self._topic = topic
        self._rate = rate
        self._interval = interval
        self._allowed, self._refilled = max(1.0, rate), time.monotonic()
        self._waiting: deque[tuple[str, Message]] = deque()
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._ending = False

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record, unless it tells of publishing; one that is too much is counted."""
        if _UNPUBLISHED.get() or any(
            record.name == name or record.name.startswith(f"{name}.") for name in _CARRIERS
        ):
            return
        if len(self._waiting) >= _WAITING or not self._allows():
            self.dropped += 1
            return
        try:
            self._queue(record)
        except Exception:  # noqa: BLE001 - a record whose text cannot be made is no error of who logs
            self.handleError(record)

    @contextlib.asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        """Publish what the process logs while the block runs."""
        with unpublished():
            worker = asyncio.create_task(self._work())
        logging.getLogger().addHandler(self)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(self)
            self._ending = True
            self._wake.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(worker, _LAST)

    def _allows(self) -> bool:
        clock = time.monotonic()
        self._allowed = min(max(1.0, self._rate), self._allowed + (clock - self._refilled) * self._rate)
        self._refilled = clock
        if self._allowed < 1:
            return False
        self._allowed -= 1
        return True

    def _queue(self, record: logging.LogRecord) -> None:
        level = level_of(record)
        message = self._message({**fields_of(record, self._component), "level": level})
        self._waiting.append((level, message))
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody publishes any more
            self._loop.call_soon_threadsafe(self._wake.set)

    def _message(self, content: dict[str, str]) -> Message:
        return Message(type=MessageType.EVENT, sender=self._component, content={**content})

    def _topics(self, level: str) -> list[str]:
        if self._topic != BY_LEVEL:
            return [self._topic]
        return [f"{BY_LEVEL}/{level}", f"{BY_LEVEL}/agent/{self._component}"]

    async def _work(self) -> None:
        told = time.monotonic()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._wake.wait()
            self._wake.clear()
            await self._publish_waiting()
            if self._ending or time.monotonic() - told >= self._interval:
                await self._tell_dropped()
                told = time.monotonic()
            if self._ending:
                return

    async def _publish_waiting(self) -> None:
        batches: defaultdict[str, list[Message]] = defaultdict(list)
        taken = len(self._waiting)
        for _ in range(taken):
            level, message = self._waiting.popleft()
            for topic in self._topics(level):
                batches[topic].append(message)
        lost = 0
        try:
            for topic, messages in batches.items():
                lost = max(lost, await publish_news(self._bus, topic, messages))
        except Exception as error:  # noqa: BLE001 - the next are published all the same
            lost = taken
            log.warning("%d log records could not be published: %s", taken, error)
        self.acquire()
        self.dropped += lost
        self.release()

    async def _tell_dropped(self) -> None:
        self.acquire()
        dropped, self.dropped = self.dropped, 0
        self.release()
        if dropped:
            text = f"{dropped} log records were not published: over {self._rate:g} a second, or the broker was away"
            log.warning(text)
            record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None)
            self._queue(record)
            await self._publish_waiting()
