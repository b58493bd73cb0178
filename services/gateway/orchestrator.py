"""What the gateway asks of the orchestrator."""

import asyncio
import time
from typing import Final, Literal

from pydantic import JsonValue

from dovecote import App
from dovecote.errors import UnavailableError

_PAUSE: Final = 0.5  # seconds between two attempts


async def ask_orchestrator(
    gateway: App, method: str, body: JsonValue = None, *, verb: Literal["GET", "POST"] = "POST"
) -> JsonValue:
    """What the orchestrator answers; UnavailableError if it is away for longer than `agent_wait` seconds.

    Until then it is asked again. That does no harm, since a task that is started brings its id. The sidecar tries
    again as well, but only at the address that it looked up first, which a new pod has not.
    """
    running = gateway.running
    patient_until = time.monotonic() + running.settings.agent_wait
    while True:
        try:
            return await running.ports.invoke("orchestrator", method, body, verb=verb)
        except UnavailableError:
            if time.monotonic() + _PAUSE > patient_until:
                raise
        await asyncio.sleep(_PAUSE)
