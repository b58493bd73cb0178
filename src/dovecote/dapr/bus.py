"""The bus on Dapr pub/sub."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from pydantic import JsonValue
from pydantic_core import from_json, to_json

from dovecote import topics
from dovecote.classes import Lane, class_of, is_urgent, lane_of
from dovecote.codec import PLAIN, Codec
from dovecote.dapr.sidecar import Sidecar, failure
from dovecote.errors import BatchError, NotFoundError, UnavailableError
from dovecote.messages import Message
from dovecote.topics import Capabilities
from dovecote.values import content_to_keep, copy_to_keep

EVENT: Final = "application/cloudevents+json"
_STRUCTURED: Final = {"content-type": EVENT}
_Coded = tuple[Message, bytes]  # a message, and its event
# Seconds for a broker to take a message: some components go on waiting for one that is away.
_LIMIT: Final = 15.0
# How large a batch may be beside the broker's limit of one message: the sidecar adds some to each.
_BATCH_SHARE: Final = 0.5


class DaprBus:
    """Publishes CloudEvents, as the codec makes them, through the component of each message's lane."""

    def __init__(
        self, sidecar: Sidecar, capabilities: Callable[[], Awaitable[Capabilities]], codec: Codec = PLAIN
    ) -> None:
        self._sidecar = sidecar
        self._capabilities = capabilities
        self._codec = codec
        self._retained: dict[str, Message] = {}

    async def publish(self, topic: str, message: Message) -> None:
        """Return when the broker has taken it; UnavailableError otherwise, TooLargeError for too large a one."""
        broker = await self._capabilities()
        await self._publish(broker, topic, await self._encoded(broker, topic, message))

    async def publish_content(self, topic: str, content: dict[str, JsonValue]) -> None:
        """Publish a bare JSON object, which the sidecar is to leave as it is."""
        broker = await self._capabilities()
        body = to_json(content)
        broker.check_size(topic, str(content.get("id")), len(body))
        keep = content_to_keep(topic, content, self._codec.app_id)
        metadata = {"rawPayload": "true"}
        if keep and broker.retained:
            metadata["retain"] = "true"
        await self._post(topic, _path(broker, lane_of(topic), metadata), body, {})
        if keep:
            await self._keep(broker, topic, (keep, await self._codec.encode(broker, topics.VALUES, keep)))

    async def publish_batch(self, topic: str, messages: Sequence[Message]) -> None:
        """Publish several, in few calls; BatchError has the reason of each that was not taken.

        What is over all limits is refused before anything is published.
        """
        failed: dict[str, str] = {}
        if class_of(topic).retained:
            broker = await self._capabilities()
            for coded in [await self._encoded(broker, topic, message) for message in messages]:
                try:
                    await self._publish(broker, topic, coded)
                except UnavailableError as error:
                    failed[coded[0][0].id] = str(error)
        else:
            for path, part, body in await self._calls(topic, messages):
                failed |= await self._send(topic, path, part, body)
        if failed:
            raise BatchError.of(topic, len(messages), failed)

    async def _calls(self, topic: str, messages: Sequence[Message]) -> list[tuple[str, list[Message], bytes]]:
        """The calls that a batch takes: path, messages and body of each."""
        broker = await self._capabilities()
        lanes: defaultdict[Lane, list[_Coded]] = defaultdict(list)
        for message in sorted(messages, key=is_urgent, reverse=True):  # those that overtake go first
            event = await self._codec.encode(broker, topic, message)
            lanes[lane_of(topic, urgent=is_urgent(message))].append((message, event))
        return [
            (_path(broker, lane, {}, bulk=True), *call)
            for lane, batch in lanes.items()
            for call in _calls(broker, batch)
        ]

    async def _send(self, topic: str, path: str, part: Sequence[Message], body: bytes) -> dict[str, str]:
        """Why messages of one call were not taken, by their ids."""
        try:
            status, answer = await self._sidecar.request("POST", path, body, limit=_LIMIT)
            failed = from_json(answer).get("failedEntries", []) if answer else []
            if not failed:
                _check(topic, status, answer)
        except UnavailableError as error:
            return {message.id: str(error) for message in part}
        return {part[int(row["entryId"])].id: str(row.get("error")) for row in failed}

    async def repeat_values(self) -> None:
        """Say again what is to be retained, where the broker keeps nothing for a recorder that is away."""
        if self._retained:
            await self.publish_batch(topics.VALUES, list(self._retained.values()))

    async def _keep(self, broker: Capabilities, topic: str, copy: _Coded) -> None:
        if not broker.durable:
            self._retained[topic] = copy[0]
        await self._post(topics.VALUES, _path(broker, lane_of(topics.VALUES), {}), copy[1], _STRUCTURED)

    async def _encoded(self, broker: Capabilities, topic: str, message: Message) -> tuple[_Coded, _Coded | None]:
        """A message, and the copy that is to be kept of it, as they are published."""
        keep = copy_to_keep(topic, message)
        coded = message, await self._codec.encode(broker, topic, message)
        return coded, (keep, await self._codec.encode(broker, topics.VALUES, keep)) if keep else None

    async def _publish(self, broker: Capabilities, topic: str, coded: tuple[_Coded, _Coded | None]) -> None:
        (message, event), keep = coded
        metadata = _metadata(broker, message)
        if keep and broker.retained:
            metadata["retain"] = "true"
        lane = lane_of(topic, urgent=is_urgent(message))
        await self._post(topic, _path(broker, lane, metadata), event, _STRUCTURED)
        if keep:
            await self._keep(broker, topic, keep)

    async def _post(self, topic: str, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        status, answer = await self._sidecar.request("POST", path, body, headers=headers, limit=_LIMIT)
        _check(topic, status, answer)


def publish_path(component: str, topic: str, metadata: Mapping[str, str], *, bulk: bool = False) -> str:
    """Where the sidecar takes messages for a topic, in the broker's spelling, with metadata for the broker."""
    query = urlencode({f"metadata.{name}": value for name, value in metadata.items()})
    path = f"/v1.0/publish/{'bulk/' if bulk else ''}{component}/{topic}"
    return f"{path}?{query}" if query else path


def _path(broker: Capabilities, lane: Lane, metadata: Mapping[str, str], *, bulk: bool = False) -> str:
    return publish_path(lane.component, broker.spell(lane.topic), metadata, bulk=bulk)


def _calls(broker: Capabilities, messages: Sequence[_Coded]) -> list[tuple[list[Message], bytes]]:
    """Messages as the sidecar takes them: in one call, or in several where a batch is limited as a message is."""
    calls: list[tuple[list[Message], list[bytes]]] = []
    room = 0.0
    for message, event in messages:
        if len(event) > room:
            calls.append(([], []))
            room = broker.max_message_bytes * _BATCH_SHARE
        part, entries = calls[-1]
        entry = {"entryId": str(len(part)), "contentType": EVENT, "metadata": _metadata(broker, message)}
        part.append(message)
        entries.append(to_json(entry)[:-1] + b',"event":' + event + b"}")
        room -= len(entries[-1])
    return [(part, b"[" + b",".join(entries) + b"]") for part, entries in calls]


def _metadata(broker: Capabilities, message: Message) -> dict[str, str]:
    """What the broker is told of a message.

    Not its time to live: where the broker or the sidecar counts that, what expires is gone without a reason. The
    app sees for itself, on every broker.
    """
    return broker.metadata(message.priority, message.order_key)


def _check(topic: str, status: int, body: bytes) -> None:
    if status == HTTPStatus.NOT_FOUND:
        raise NotFoundError(f"topic {topic!r}: {body[:300].decode(errors='replace')}")
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        raise failure(f"publishing to {topic!r}", status, body)
