"""A bridge: takes what waits for an app on one broker, and publishes it on another.

It subscribes as the app itself does, to the same topics and as a consumer of the same name, so that it is handed
what the app was not. Its sidecar has the components of the broker that is left, and `target` of the new one.
"""

import asyncio
import contextlib
import functools
import logging
from collections import Counter
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI
from pydantic import JsonValue
from pydantic_core import to_json

from dovecote.classes import PUBSUB
from dovecote.dapr.bus import EVENT, publish_path
from dovecote.dapr.inbound import Inbound
from dovecote.dapr.sidecar import Sidecar, failure
from dovecote.delivery import Status
from dovecote.errors import UnavailableError
from dovecote.guard import Guard
from dovecote.messages import ORDER_KEY, priority_of
from dovecote.ports import Subscription
from dovecote.settings import Settings
from dovecote.topics import Capabilities, read_capabilities
from dovecote.traffic import HEALTH, Counted, Traffic

if TYPE_CHECKING:
    from dovecote.app import App

log = logging.getLogger(__name__)
TARGET: Final = "target"
_LONGEST_PAUSE: Final = 5.0


class Bridge:
    """What one app's bridge does with a delivery, and how many of each topic it has passed on."""

    def __init__(self, sidecar: Sidecar, capabilities: Path) -> None:
        self._sidecar = sidecar
        self._file = capabilities
        self._target: Capabilities | None = None
        self.passed: Counter[str] = Counter()

    async def capabilities(self, component: str = PUBSUB) -> Capabilities:
        """The row of the broker behind a component."""
        return read_capabilities(self._file, await self._sidecar.component_type(component))

    async def deliver(self, subscription: Subscription, event: JsonValue) -> Status:
        """Publish an event on the new broker, in the same lane; the old one keeps it until that is done."""
        pause = 0.1
        while True:
            try:
                await self._publish(subscription, event)
                break
            except UnavailableError as error:
                log.warning("%s, again in %g s", error, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        self.passed[subscription.topic] += 1
        return "SUCCESS"

    async def _publish(self, subscription: Subscription, event: JsonValue) -> None:
        if self._target is None:
            self._target = await self.capabilities(TARGET)
        topic = self._target.spell(subscription.lane.topic)
        path = publish_path(TARGET, topic, _metadata(self._target, subscription, event))
        # What was read raw may be any JSON, which the sidecar would take for a CloudEvent.
        headers = {} if subscription.raw else {"content-type": EVENT}
        status, body = await self._sidecar.request("POST", path, to_json(event), headers=headers)
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            raise failure(f"publishing to {subscription.topic!r} on the new broker", status, body)


def _metadata(broker: Capabilities, subscription: Subscription, event: JsonValue) -> dict[str, str]:
    metadata = {"rawPayload": "true"} if subscription.raw else {}
    key = event.get(ORDER_KEY) if isinstance(event, dict) else None
    return metadata | broker.metadata(priority_of(event), None if key is None else str(key))


def bridge_of(app: "App", settings: Settings) -> FastAPI:
    """The app that is served in the place of `app` while its messages are moved; `GET /passed` counts them."""
    traffic = Traffic()

    @contextlib.asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        sidecar = Sidecar(settings.dapr_http_port, settings.dapr_api_token)
        bridge = Bridge(sidecar, settings.capabilities)
        Inbound(api, app, bridge, bridge.capabilities)
        api.state.bridge = bridge
        try:
            yield
        finally:
            await sidecar.close()

    api = FastAPI(title=f"bridge of {app.name}", lifespan=lifespan)
    api.add_middleware(Counted, traffic=traffic)
    api.add_middleware(Guard, token=lambda: settings.app_api_token, paths=(*HEALTH, "/passed"), routes=[])
    api.state.retire = functools.partial(traffic.quiet, settings.stop_timeout)

    @api.get("/healthz")
    @api.get("/readyz")
    async def healthz() -> dict[str, str]:
        """Whether the process is alive."""
        return {"status": "ok"}

    @api.get("/passed")
    async def passed() -> dict[str, int]:
        """How many messages of each topic were published on the new broker."""
        return dict(api.state.bridge.passed)

    return api
