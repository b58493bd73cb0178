"""The bus on Dapr pub/sub."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from pydantic import JsonValue
from pydantic_core import from_json

from dovecote import topics
from dovecote.classes import class_of
from dovecote.dapr.sidecar import Sidecar, failure
from dovecote.errors import NotFoundError, UnavailableError
from dovecote.messages import Message
from dovecote.topics import Capabilities
from dovecote.values import copy_to_keep

EVENT: Final = "application/cloudevents+json"


class DaprBus:
    """Publishes CloudEvents through the component of each topic's class, whichever broker that is."""

    def __init__(self, sidecar: Sidecar, capabilities: Callable[[], Awaitable[Capabilities]]) -> None:
        self._sidecar = sidecar
        self._capabilities = capabilities

    async def publish(self, topic: str, message: Message) -> None:
        """Return when the broker has taken it; UnavailableError otherwise."""
        metadata = {}
        if message.ttl:
            metadata["ttlInSeconds"] = str(max(1, round(message.ttl)))
        keep = copy_to_keep(topic, message)
        if keep and (await self._capabilities()).retained:
            metadata["retain"] = "true"
        await self._publish(topic, message, metadata)
        if keep:
            await self._publish(topics.VALUES, keep, {})

    async def publish_content(self, topic: str, content: dict[str, JsonValue]) -> None:
        """Publish a bare JSON object, which the sidecar is to leave as it is."""
        spelled = (await self._capabilities()).spell(topic)
        path = f"/v1.0/publish/{class_of(topic).component}/{spelled}?metadata.rawPayload=true"
        status, body = await self._sidecar.request("POST", path, content)
        _check(topic, status, body)

    async def publish_batch(self, topic: str, messages: Sequence[Message]) -> None:
        """Publish several in one call; UnavailableError names those that were not taken."""
        if class_of(topic).retained:
            for message in messages:
                await self.publish(topic, message)
            return
        spelled = (await self._capabilities()).spell(topic)
        entries = [
            {"entryId": str(number), "event": message.to_cloudevent(), "contentType": EVENT}
            for number, message in enumerate(messages)
        ]
        path = f"/v1.0/publish/bulk/{class_of(topic).component}/{spelled}"
        status, body = await self._sidecar.request("POST", path, entries)
        failed = from_json(body).get("failedEntries", []) if body else []
        if failed:
            first = failed[0]
            raise UnavailableError(
                f"{len(failed)} of {len(messages)} messages to {topic!r} were not taken; "
                f"the first was {messages[int(first['entryId'])].id!r}: {first.get('error')}"
            )
        _check(topic, status, body)

    async def _publish(self, topic: str, message: Message, metadata: Mapping[str, str]) -> None:
        spelled = (await self._capabilities()).spell(topic)
        query = urlencode({f"metadata.{name}": value for name, value in metadata.items()})
        path = f"/v1.0/publish/{class_of(topic).component}/{spelled}"
        status, body = await self._sidecar.request(
            "POST", f"{path}?{query}" if query else path, message.to_cloudevent(), headers={"content-type": EVENT}
        )
        _check(topic, status, body)


def _check(topic: str, status: int, body: bytes) -> None:
    if status == 404:  # noqa: PLR2004 - HTTP
        raise NotFoundError(f"topic {topic!r}: {body[:300].decode(errors='replace')}")
    if status >= 300:  # noqa: PLR2004 - HTTP
        raise failure(f"publishing to {topic!r}", status, body)
