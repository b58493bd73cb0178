"""Circuit breakers of sidecars: their states, as the sidecars' own measures tell them.

A sidecar notes the state of a breaker whenever a call comes to it: so what is told is how the last call found it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

_STATE: Final = "dapr_resiliency_cb_state"


@dataclass(frozen=True)
class Breaker:
    """The breaker of an app's sidecar before `target`, such as `Conversation_llm`: closed, half-open or open."""

    app_id: str
    target: str
    state: str


def read_breakers(client: httpx.Client, url: str) -> list[Breaker]:
    """The breakers that calls have come to, of the sidecar whose measures are at `url`.

    Raises httpx.HTTPError, or ValueError, where there are no measures.
    """
    return [*_breakers(client.get(url).raise_for_status().text)]


def _breakers(measures: str) -> Iterator[Breaker]:
    for family in text_string_to_metric_families(measures):
        for sample in family.samples if family.name == _STATE else ():
            if sample.value == 1:  # of the state that it is in; 0 of the others
                yield Breaker(sample.labels["app_id"], sample.labels["target"], sample.labels["status"])
