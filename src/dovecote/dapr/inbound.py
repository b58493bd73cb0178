"""Deliveries from the sidecar: programmatic subscriptions, one event or a bulk of them a request."""

import asyncio
import logging
from base64 import b64decode
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from dapr.ext.fastapi import DaprApp
from fastapi import FastAPI
from pydantic import JsonValue
from pydantic_core import from_json, to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dovecote import topics
from dovecote.classes import class_of
from dovecote.delivery import Status
from dovecote.errors import InvalidInputError
from dovecote.matching import in_lanes
from dovecote.messages import read_payload
from dovecote.ports import Subscription
from dovecote.problems import MEDIA_TYPE, to_problem
from dovecote.topics import Capabilities

if TYPE_CHECKING:
    from dovecote.app import App

log = logging.getLogger(__name__)

BULK_MESSAGES: Final = 100
BULK_WAIT_MS: Final = 5
_UNMATCHED: Final = "/deliveries/unmatched"
# The sidecar hands over what was published, in base64; else it wants CloudEvents, and gives up what is no object.
RAW: Final = {"rawPayload": "true"}


class Consumer(Protocol):
    """What is done with a delivery."""

    async def deliver(self, subscription: Subscription, event: JsonValue) -> Status:
        """Handle one event; the verdict goes to the sidecar."""


class Inbound(DaprApp):
    """Dapr's FastAPI extension, with bulk delivery.

    Its own `subscribe` has neither bulk nor a dead-letter policy of ours, and sends each event through
    FastAPI's layers, which cost more than the handler (bench/README.md); so the list of subscriptions is
    ours, and deliveries are plain routes.
    """

    def __init__(
        self,
        api: FastAPI,
        app: "App",
        deliveries: Consumer,
        capabilities: Callable[[], Awaitable[Capabilities]],
    ) -> None:
        super().__init__(api)
        self._name = app.name
        self._wanted = app.subscriptions
        self._deliveries = deliveries
        self._capabilities = capabilities
        for number, subscription in enumerate(self._wanted):
            endpoint = self._bulk(subscription) if subscription.bulk else self._single(subscription)
            # First in the list: the router tries routes in order, and these are the hot ones.
            api.router.routes.insert(0, Route(_route(number), endpoint, methods=["POST"]))
        api.router.routes.append(Route(_UNMATCHED, _not_for_us, methods=["POST"]))

    async def _get_subscriptions(self) -> list[dict[str, Any]]:
        """What the sidecar is to subscribe to, in the active broker's spelling."""
        broker = await self._capabilities()
        rows = []
        for lane, rules in in_lanes(self._wanted).items():
            wanted = rules[0]
            row: dict[str, Any] = {"pubsubname": lane.component, **self._routing(rules)}
            if wanted.dead_letter and class_of(wanted.topic).qos:
                row["deadLetterTopic"] = broker.spell(topics.DEAD_LETTERS)
            metadata = {**(RAW if wanted.raw else {}), **(broker.urgent_metadata if wanted.urgent else {})}
            if metadata:
                row["metadata"] = metadata
            if wanted.bulk:
                row["bulkSubscribe"] = {
                    "enabled": True,
                    "maxMessagesCount": BULK_MESSAGES,
                    "maxAwaitDurationMs": BULK_WAIT_MS,
                }
            rows += [{**row, "topic": topic} for topic in broker.subscriptions(wanted.lane.topic, self._name)]
        return rows

    def _routing(self, rules: list[Subscription]) -> dict[str, Any]:
        """The route of what comes in a lane, or the rules by which the sidecar chooses one."""
        paths = [_route(self._wanted.index(rule)) for rule in rules]
        if not rules[0].match:
            return {"route": paths[0]}
        # The sidecar would make dead letters of what no rule takes.
        default = _UNMATCHED if rules[-1].match else paths[-1]
        chosen = [
            {"match": rule.match, "path": path} for rule, path in zip(rules, paths, strict=True) if rule.match
        ]
        return {"routes": {"rules": chosen, "default": default}}

    def _single(self, subscription: Subscription) -> Callable[[Request], Awaitable[Response]]:
        async def deliver(request: Request) -> Response:
            try:
                event = from_json(await request.body(), allow_inf_nan=False)
                if subscription.raw:
                    event = read_payload(b64decode(event["data_base64"], validate=True))
            except (ValueError, TypeError, LookupError) as error:
                return _refused(subscription, error)
            status = await self._deliveries.deliver(subscription, event)
            return _json({"status": status})

        return deliver

    def _bulk(self, subscription: Subscription) -> Callable[[Request], Awaitable[Response]]:
        async def deliver(request: Request) -> Response:
            try:
                entries = from_json(await request.body(), allow_inf_nan=False)["entries"]
                events = {str(entry["entryId"]): entry["event"] for entry in entries}
            except (ValueError, TypeError, LookupError) as error:
                return _refused(subscription, error)
            statuses = await asyncio.gather(
                *(self._deliveries.deliver(subscription, event) for event in events.values())
            )
            return _json(
                {
                    "statuses": [
                        {"entryId": entry_id, "status": status}
                        for entry_id, status in zip(events, statuses, strict=True)
                    ]
                }
            )

        return deliver


def _route(number: int) -> str:
    return f"/deliveries/{number}"


async def _not_for_us(_: Request) -> Response:
    return _json({"status": "SUCCESS"})


def _refused(subscription: Subscription, error: Exception) -> Response:
    """The answer to what is no delivery: it is not acknowledged, so who sent it keeps it."""
    log.warning("%s: what came is no delivery: %s: %s", subscription.topic, type(error).__name__, error)
    text = f"this is no delivery of {subscription.topic!r}: {type(error).__name__}: {error}"
    mend = "send an event as the sidecar does, in JSON"
    status, body = to_problem(InvalidInputError(text, mend=mend))
    return Response(to_json(body), status, media_type=MEDIA_TYPE)


def _json(value: object) -> Response:
    return Response(to_json(value), media_type="application/json")
