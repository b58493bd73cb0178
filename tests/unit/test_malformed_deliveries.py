"""Whatever is delivered over HTTP, an app goes on serving, and each event is accounted for."""

import asyncio
import contextlib
import json
import logging
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dovecote import App, Message
from dovecote.dapr.inbound import Inbound
from dovecote.delivery import Deliveries
from dovecote.testing import Network
from dovecote.topics import FAILURES
from tests.support.generated import JSON

SINGLE, RAW, BULK = (f"/deliveries/{number}" for number in (0, 2, 4))


@dataclass
class Told:
    """A bus that counts what it takes, and keeps nothing."""

    reasons: Counter[str] = field(default_factory=Counter)

    async def publish(self, topic: str, message: Message) -> None:
        """Count the reason of a failed attempt."""
        assert topic == FAILURES
        content: Any = message.content
        assert content["reason"]
        self.reasons[content["message_id"]] += 1

    async def publish_batch(self, topic: str, messages: Any) -> None:
        raise NotImplementedError

    async def publish_content(self, topic: str, content: Any) -> None:
        raise NotImplementedError


@dataclass
class Served:
    """An app, a client of it, and what became of what was delivered."""

    http: httpx.AsyncClient
    told: Told
    handled: Counter[str]

    def accounted(self) -> int:
        """How many events were handled, or told of with a reason."""
        return self.handled.total() + self.told.reasons.total()


@contextlib.asynccontextmanager
async def _served() -> AsyncIterator[Served]:
    app, told, handled = App("fuzzed"), Told(), Counter[str]()

    async def handle(message: Message) -> None:
        handled[message.id] += 1

    app.subscribe("fuzzed/single")(handle)
    app.subscribe("fuzzed/raw", raw=True)(handle)
    app.subscribe("fuzzed/bulk", bulk=True)(handle)

    async def capabilities() -> Any:
        raise NotImplementedError

    async with Network([app]) as network:
        Inbound(network._running["fuzzed"], app, Deliveries("fuzzed", told, 100), capabilities)
        async with network.http("fuzzed") as http:
            yield Served(http, told, handled)


NAMES = (
    "id source type time subject priority ttl deadline metadata data data_base64 deliverymode correlationid "
    "maxattempts partitionkey datacontenttype dataencoding"
)
EVENTS = st.fixed_dictionaries({"specversion": st.just("1.0") | JSON}, optional=dict.fromkeys(NAMES.split(), JSON))
BODIES = st.binary(max_size=100) | (EVENTS | JSON).map(lambda value: json.dumps(value).encode())


async def _deliver(path: str, body: bytes) -> None:
    async with _served() as app:
        answer = await app.http.post(path, content=body)
        if answer.is_success:
            verdicts = [answer.json()] if path != BULK else answer.json()["statuses"]
            assert {verdict["status"] for verdict in verdicts} <= {"SUCCESS", "DROP"}
            assert app.accounted() == len(verdicts)
            assert app.told.reasons.total() == [verdict["status"] for verdict in verdicts].count("DROP")
        else:
            assert answer.status_code == 422
            assert answer.json()["mend"]
            assert app.accounted() == 0
        assert (await app.http.get("/healthz")).status_code == 200


@given(path=st.sampled_from([SINGLE, RAW, BULK]), body=BODIES)
def test_any_body_is_acknowledged_with_its_effect_or_refused(path: str, body: bytes) -> None:
    asyncio.run(_deliver(path, body))


@given(payload=BODIES | st.text().map(str.encode))
def test_any_payload_of_a_client_without_dovecote_is_handled(payload: bytes) -> None:
    asyncio.run(_deliver(RAW, json.dumps({"data_base64": b64encode(payload).decode()}).encode()))


@given(events=st.lists(EVENTS | JSON, max_size=5))
def test_each_event_of_a_bulk_is_accounted_for(events: list[Any]) -> None:
    entries = [{"entryId": str(number), "event": event} for number, event in enumerate(events)]
    asyncio.run(_deliver(BULK, json.dumps({"entries": entries}).encode()))


NASTY = [
    b"",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'"\\ud800"',
    b"1e999",
    b"NaN",
    b"9" * 5000,
    b'{"specversion":"1.0","id":"x","source":"a","time":"2026-01-01T00:00:00","ttl":"1"}',
    b'{"specversion":"1.0","id":"x","source":"a","time":"0001-01-01T00:00:00+23:59","ttl":"1e300"}',
    b'{"specversion":"1.0","id":"x","source":"a","deadline":"9999-12-31T23:59:59-23:59"}',
    b'{"specversion":"1.0","id":"x","source":"a","priority":1e999}',
    b'{"specversion":"1.0","id":"x","source":"a","metadata":"' + b"[" * 100_000 + b'"}',
    b'{"specversion":"1.0","id":"x","source":"a","datacontenttype":"application/json","data":"'
    + b"[" * 100_000
    + b'"}',
    b'{"specversion":"1.0","id":' + b"9" * 4000 + b"}",
    json.dumps({"specversion": "1.0", "id": "i" * 1_000_000}).encode(),
]


@pytest.mark.parametrize("path", [SINGLE, RAW, BULK])
@pytest.mark.parametrize("body", NASTY, ids=[repr(body[:40]) for body in NASTY])
async def test_what_breaks_parsers_breaks_no_app(path: str, body: bytes) -> None:
    bodies = {
        SINGLE: [body],
        RAW: [body, json.dumps({"data_base64": b64encode(body).decode()}).encode()],
        BULK: [body, b'{"entries":[{"entryId":"1","event":' + body + b"}]}", b'{"entries":[' + body + b"]}"],
    }
    for sent in bodies[path]:
        await _deliver(path, sent)


def _malformed(number: int) -> dict[str, Any]:
    faults: list[dict[str, Any]] = [
        {"time": "noon"},
        {"ttl": -1},
        {"priority": "soon"},
        {"metadata": "{"},
        {"source": ["a"]},
        {"data_base64": {"not": "text"}},
        {"deadline": "x" * 200},
        {"partitionkey": 7},
    ]
    return {"specversion": "1.0", "id": f"bad-{number}", "source": "a", **faults[number % len(faults)]}


@pytest.mark.timeout(900)
async def test_thousands_of_malformed_events_leave_the_app_serving(
    monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    """Ten thousand; `make fuzz` has it a hundred thousand."""
    monkeypatch.setattr(logging.getLogger("dovecote.delivery"), "disabled", True)  # the runner keeps what is logged
    process, size, count = psutil.Process(), 500, pytestconfig.getoption("malformed_events")
    async with _served() as app:
        early = 0
        for first in range(0, count, size):
            entries = [{"entryId": str(n), "event": _malformed(n)} for n in range(first, first + size)]
            answer = await app.http.post(BULK, json={"entries": entries})
            assert {row["status"] for row in answer.json()["statuses"]} == {"DROP"}
            if first <= count // 5:
                early = process.memory_info().rss
        told = app.told.reasons
        assert (len(told), told.total(), app.handled.total()) == (count, count, 0)
        assert process.memory_info().rss - early < 60_000_000
        good = {"specversion": "1.0", "id": "good", "source": "a", "data": 1}
        assert (await app.http.post(SINGLE, json=good)).json() == {"status": "SUCCESS"}
        assert app.handled == {"good": 1}


async def test_a_name_of_any_length_takes_no_memory_for_the_count_of_its_attempts() -> None:
    deliveries = Deliveries("fuzzed", Told(), 1)
    app = App("fuzzed")

    async def handle(_: Message) -> None:
        raise AssertionError

    app.subscribe("fuzzed/single")(handle)
    for number in range(3):
        event: Any = {"specversion": "1.0", "id": f"{number}" * 100_000, "source": "a", "time": "noon"}
        assert await deliveries.deliver(app.subscriptions[0], event) == "DROP"
    assert all(isinstance(key, int) for key in deliveries._attempts)
