"""The feed: news of tasks, published in batches beside the work, so that telling costs no time."""

import asyncio
import contextlib
import logging
from typing import Final

from dovecote import topics
from dovecote.errors import TooLargeError
from dovecote.messages import Message
from dovecote.ports import Publisher
from dovecote.results import TaskEvent

log = logging.getLogger(__name__)

_LINGER: Final = 0.03  # seconds that an event waits for others to go with it


async def publish_news(bus: Publisher, topic: str, messages: list[Message]) -> int:
    """Publish messages of which those that are too large are lost; returns how many were."""
    try:
        await bus.publish_batch(topic, messages)
    except TooLargeError as error:
        if len(messages) > 1:
            return sum([await publish_news(bus, topic, [message]) for message in messages])
        log.warning("message %r could not be published to %s: %s", messages[0].id, topic, error)
        return 1
    return 0


class Feed:
    """Publishes task events in the order they were told; `close` waits for the last one."""

    def __init__(self, bus: Publisher) -> None:
        self._bus = bus
        self._queue: asyncio.Queue[tuple[str, Message]] = asyncio.Queue()
        self._hurry = asyncio.Event()
        self._worker = asyncio.create_task(self._run())

    def tell(self, event: TaskEvent) -> None:
        """Queue an event of a task; returns at once."""
        self.publish(topics.TASK_EVENTS, event.to_message())

    def publish(self, topic: str, message: Message) -> None:
        """Queue a message to any topic; returns at once."""
        self._queue.put_nowait((topic, message))

    def hurry(self) -> None:
        """Publish what is queued at once; returns at once."""
        self._hurry.set()

    async def flush(self, limit: float = 5.0) -> None:
        """Publish what is queued at once, and wait for it, for `limit` seconds at most."""
        self.hurry()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._queue.join()

    async def close(self) -> None:
        """Publish what is queued, and stop."""
        await self.flush()
        self._worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._worker

    async def _run(self) -> None:
        while True:
            batch = [await self._queue.get()]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LINGER):
                    await self._hurry.wait()
            self._hurry.clear()
            while not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                for topic in dict.fromkeys(topic for topic, _ in batch):
                    await self._publish(topic, [message for other, message in batch if other == topic])
            finally:
                for _ in batch:
                    self._queue.task_done()

    async def _publish(self, topic: str, messages: list[Message]) -> None:
        try:
            await publish_news(self._bus, topic, messages)
        except Exception as error:  # noqa: BLE001 - the next is published all the same
            log.warning("%d messages could not be published to %s: %s", len(messages), topic, error)
