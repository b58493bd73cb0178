"""What happens to a delivered message: the same on every transport.

A message is acknowledged only after its handler returned. What fails for good, and each failed attempt,
is told with its reason to the failures topic, where the recorder joins it with the dead letter. As long as a reason
cannot be told, nothing is given up for good.
"""

import contextlib
import logging
import traceback
from collections import OrderedDict
from typing import Final, Literal

from pydantic import JsonValue
from pydantic_core import to_json

from dovecote import topics
from dovecote.classes import class_of
from dovecote.codec import PLAIN, Codec
from dovecote.deadletters import UNREADABLE
from dovecote.errors import DovecoteError, InvalidInputError, NotBegunError, TooLargeError, named, outcome
from dovecote.logtopics import unpublished
from dovecote.messages import DeliveryMode, Message, MessageType, id_of, priority_of
from dovecote.metrics import Metrics
from dovecote.ports import Publisher, Subscription
from dovecote.results import refusal
from dovecote.slots import Slots

log = logging.getLogger(__name__)

Status = Literal["SUCCESS", "RETRY", "DROP"]
_REMEMBERED: Final = 10_000
_LARGEST: Final = 1_000_000  # bytes of an event that is told with the reason
_LONGEST: Final = 10_000  # characters of the beginning, and of the end, of a text that is kept


class Deliveries:
    """Runs handlers, and turns what they raise into a verdict for the broker.

    At most `limit` run at once, and as many for what is urgent, so that it does not wait for the others. Among
    those that wait, the priority decides.
    """

    def __init__(
        self, app_id: str, bus: Publisher, limit: int, metrics: Metrics | None = None, codec: Codec = PLAIN
    ) -> None:
        self._app_id = app_id
        self._codec = codec
        self._metrics = metrics or Metrics()
        self._bus = bus
        self._slots = {urgent: Slots(limit) for urgent in (False, True)}
        # By the hash of topic and id: what others call their messages may be of any length.
        self._attempts: OrderedDict[int, int] = OrderedDict()

    async def deliver(self, subscription: Subscription, event: JsonValue) -> Status:
        """Handle one event. SUCCESS: gone. RETRY: deliver it again. DROP: to the dead letters.

        What is delivered at most once, by its topic's class or its own mode, is gone in any case; a line in the log
        says if it failed. A subscription without dead letters is a message's last stop: what expired on its way is
        taken there.
        """
        slots, depth = self._slots[subscription.urgent], self._metrics.depth(subscription.topic)
        # What the handling of a published log logs would else be published and handled in turn.
        silent = unpublished() if class_of(subscription.topic).name == "logs" else contextlib.nullcontext()
        depth.inc()
        try:
            await slots.take(priority_of(event))
            try:
                with silent:
                    return await self._handle(subscription, event)
            finally:
                slots.give_back()
        finally:
            depth.dec()

    async def _handle(self, subscription: Subscription, event: JsonValue) -> Status:
        message: Message | None = None
        try:
            message = await self._read(subscription, event)
            if subscription.dead_letter and message.expired():
                raise InvalidInputError(f"message {message.id!r} expired before it was handled")  # noqa: TRY301 - one way out
            self._metrics.delivered(subscription.topic, message)
            await subscription.handler(message)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises becomes a verdict
            return await self._failed(subscription, event, message, error)
        await self._recovered(subscription, message)
        return "SUCCESS"

    async def _read(self, subscription: Subscription, event: JsonValue) -> Message:
        """The message of an event. At its last stop, what is none becomes the content of one that says why."""
        try:
            return await self._codec.decode(subscription, event)
        except InvalidInputError as error:
            if subscription.dead_letter or not subscription.raw:
                raise
            return Message(
                id=id_of(event), type=MessageType.ERROR, sender="", content=event, metadata={UNREADABLE: str(error)}
            )

    async def _recovered(self, subscription: Subscription, message: Message) -> None:
        """Tell that what failed before was handled: its reasons are those of no dead letter."""
        attempts = self._attempts.pop(hash((subscription.topic, message.id)), 0) if self._attempts else 0
        if attempts and subscription.dead_letter:
            await self._tell(handled_after(message.id, subscription.topic, self._app_id, attempts))

    async def _failed(
        self, subscription: Subscription, event: JsonValue, message: Message | None, error: Exception
    ) -> Status:
        key = _key(subscription, event, message)
        once = message is not None and message.delivery is DeliveryMode.AT_MOST_ONCE
        once = once and not isinstance(error, NotBegunError)
        if (once and subscription.dead_letter) or class_of(subscription.topic).qos == 0:
            log.warning("%s %s: lost, since it is not delivered again: %s: %s", *key, type(error).__name__, error)
            return "SUCCESS"
        attempt = self._attempts[hash(key)] = self._attempts.pop(hash(key), 0) + 1
        if len(self._attempts) > _REMEMBERED:
            self._attempts.popitem(last=False)
        _, verdict = outcome(error)
        last = _is_last(subscription, message, attempt) and not isinstance(error, NotBegunError)
        verdict = "DROP" if last else verdict
        log.warning("%s %s: attempt %d failed (%s): %s: %s", *key, attempt, verdict, type(error).__name__, error)
        if not subscription.dead_letter:
            return verdict
        topic, message_id = key
        told = failure_of(message_id, topic, self._app_id, error, attempt=attempt, verdict=verdict)
        # What is no message can be read nowhere else: it goes with the reason, if that is not too much to keep.
        unread = message is None and len(to_json(event)) <= _LARGEST
        whole = _with_event(told, event) if unread else told
        # Nothing is given up without its reason: as long as that cannot be told, the broker keeps the message.
        if not await self._tell(whole, told):
            return "RETRY"
        if message and last:
            await self._refuse(subscription, message, error)
        return verdict

    async def _refuse(self, subscription: Subscription, request: Message, error: Exception) -> None:
        """Tell who waits for the answer of this app to a request that it is not tried any more, and why."""
        asked = subscription.topic == topics.inbox(self._app_id)
        if request.reply_to is None or request.expired() or not asked:
            return
        failed = error if isinstance(error, DovecoteError) else named(type(error).__name__, str(error))
        try:
            await self._bus.publish(request.reply_to, refusal(request, failed, sender=self._app_id))
        except DovecoteError as away:
            log.warning("the sender of %s could not be told: %s", request.id, away)

    async def _tell(self, *forms: Message) -> bool:
        """Publish what became of an attempt, in the first form that is not too large; whether that succeeded."""
        for told in forms:
            try:
                await self._bus.publish(topics.FAILURES, told)
            except TooLargeError as error:
                log.warning("%s cannot be told in full: %s", told.id, error)
            except DovecoteError as error:
                log.warning("%s could not be told: %s", told.id, error)
                return False
            else:
                return True
        return True  # there is no smaller form, and waiting would not make one


def handled_after(message_id: str, topic: str, consumer: str, attempts: int) -> Message:
    """The news that a message was handled after so many failed attempts; published to the failures topic."""
    return _told("handled", message_id, topic, consumer, attempt=attempts + 1, verdict="SUCCESS")


def failure_of(  # noqa: PLR0913 - what is known of a failed attempt
    message_id: str,
    topic: str,
    consumer: str,
    error: Exception,
    *,
    attempt: int,
    verdict: Status,
    **more: JsonValue,
) -> Message:
    """The reason of a failed attempt at a message, as the recorder keeps it; published to the failures topic."""
    return _told(
        "failure",
        message_id,
        topic,
        consumer,
        attempt=attempt,
        verdict=verdict,
        error=type(error).__name__,
        reason=_shortened(str(error)),
        traceback=_shortened("".join(traceback.format_exception(error))),
        **more,
    )


async def bury(  # noqa: PLR0913 - what is known of a message that is given up
    bus: Publisher,
    message: Message,
    error: Exception,
    *,
    topic: str,
    consumer: str,
    attempt: int = 1,
    sender: str | None = None,
) -> None:
    """Make a dead letter, with its reason, of a message that is given up, but not by the broker.

    `sender` is who tells of it, and signs what it tells, if not the consumer. UnavailableError if it was not taken.
    """
    told = failure_of(message.id, topic, consumer, error, attempt=attempt, verdict="DROP")
    await bus.publish(topics.FAILURES, told.model_copy(update={"sender": sender or consumer}))
    await bus.publish(topics.DEAD_LETTERS, message)


def _told(what: str, message_id: str, topic: str, consumer: str, *, attempt: int, **more: JsonValue) -> Message:
    """What became of an attempt at a message; its id follows from that, so that a repeated one is known."""
    return Message(
        id=f"{message_id}.{consumer}.{what}.{attempt}",
        type=MessageType.EVENT,
        sender=consumer,
        causation_id=message_id,
        content={"message_id": message_id, "topic": topic, "consumer": consumer, "attempt": attempt, **more},
    )


def _shortened(text: str) -> str:
    """Its beginning and its end, so that the reason of a failure is never over a broker's limit."""
    return text if len(text) <= 2 * _LONGEST else f"{text[:_LONGEST]}\n...\n{text[-_LONGEST:]}"


def _with_event(told: Message, event: JsonValue) -> Message:
    content = told.content if isinstance(told.content, dict) else {}
    return told.model_copy(update={"content": {**content, "event": event}})


def _is_last(subscription: Subscription, message: Message | None, attempt: int) -> bool:
    """Whether a message allows no more attempts; what takes dead letters goes on as long as it is let."""
    limit = message.max_attempts if message else None
    return subscription.dead_letter and limit is not None and attempt >= limit


def _key(subscription: Subscription, event: JsonValue, message: Message | None) -> tuple[str, str]:
    if message:
        return subscription.topic, message.id
    return subscription.topic, id_of(event)
