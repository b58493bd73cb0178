"""A tool that knows only the broker, and weighs."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tests.support.stock_clients import StockClient
from tests.support.waiting import wait_until

_SCALE: Final[dict[str, Any]] = {
    "name": "scale",
    "description": "Weigh something, in grams.",
    "parameters": {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]},
}


class Scale:
    """A tool that only knows the broker: answers each call, also one that comes again."""

    def __init__(self, client: StockClient, tool_id: str, calls: list[str]) -> None:
        self.id = tool_id
        self.seen: list[dict[str, Any]] = []
        self._client = client
        self._calls = calls
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _work(self) -> None:
        number = 0
        while not self._over.wait(0.02):
            for text in self._calls[number:]:
                number += 1
                call = json.loads(text)
                self.seen.append(call)
                result = {"grams": len(call["arguments"]["what"])}
                response = json.dumps({"id": call["id"], "result": result})
                self._client.publish(f"agent/tools/response/{self.id}", response)


@contextmanager
def scale(client: StockClient) -> Iterator[Scale]:
    """The tool, registered and confirmed, under an id of its own, which no earlier news has."""
    tool_id = f"scale-{uuid.uuid4().hex}"
    with client.listen("agent/status/info") as news, client.listen(f"agent/tools/call/{tool_id}") as calls:
        client.publish("agent/tools/register", json.dumps(_SCALE | {"id": tool_id}))
        wait_until(
            lambda: any("TOOL_REGISTERED" in text and tool_id in text for text in [*news]), "the confirmation", 30
        )
        tool = Scale(client, tool_id, calls)
        try:
            yield tool
        finally:
            tool.stop()
