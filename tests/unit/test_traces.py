"""An app hands on the trace of what it is asked."""

import asyncio

import httpx
import pytest
from fastapi import FastAPI

from dovecote.traces import Traced, carried

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def client() -> httpx.AsyncClient:
    """A client of an app that answers with what it would hand on, from a task that it has begun."""
    api = FastAPI()
    api.add_middleware(Traced)

    async def handed_on() -> dict[str, str]:
        return carried()

    @api.get("/handed-on")
    async def route() -> dict[str, str]:
        return await asyncio.create_task(handed_on())

    return httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://app")


async def test_what_belongs_to_a_trace_is_handed_on_with_it(client: httpx.AsyncClient) -> None:
    headers = {"traceparent": TRACE, "tracestate": "vendor=1"}
    assert (await client.get("/handed-on", headers=headers)).json() == headers


@pytest.mark.parametrize("headers", [{}, {"traceparent": "nonsense"}, {"traceparent": ""}])
async def test_what_belongs_to_no_trace_is_handed_on_without_one(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    assert (await client.get("/handed-on", headers=headers)).json() == {}


async def test_one_request_does_not_get_the_trace_of_another(client: httpx.AsyncClient) -> None:
    with_trace = client.get("/handed-on", headers={"traceparent": TRACE})
    first, second = await asyncio.gather(with_trace, client.get("/handed-on"))
    assert (first.json(), second.json()) == ({"traceparent": TRACE}, {})
    assert carried() == {}
