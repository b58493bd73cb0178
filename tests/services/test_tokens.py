"""An app that demands a token of its sidecar: what it refuses, and what is open all the same."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pydantic import SecretStr

from dovecote.guard import TOKEN
from dovecote.settings import Settings
from dovecote.testing import Network
from services.directory.main import app as directory
from services.gateway.main import app as gateway
from services.orchestrator.main import orchestrator
from services.tools.calculator.main import tools as calculator

pytestmark = pytest.mark.asyncio(loop_scope="module")
SECRET = "a secret"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def net() -> AsyncIterator[Network]:
    settings = Settings(APP_API_TOKEN=SecretStr(SECRET))
    async with Network([directory, gateway, orchestrator, calculator], settings=settings) as network:
        yield network


@pytest.mark.parametrize("headers", [{}, {TOKEN: "another"}, {TOKEN: ""}, {TOKEN: SECRET[:-1]}])
@pytest.mark.parametrize(
    ("app", "verb", "path"),
    [
        ("calculator", "POST", "/tools/evaluate"),
        ("calculator", "GET", "/tap"),
        ("calculator", "GET", "/openapi.json"),
        ("calculator", "GET", "/nowhere"),
        ("orchestrator", "POST", "/tasks"),
        ("gateway", "POST", "/tools/scale"),
        ("gateway", "GET", "/tap"),
    ],
)
async def test_what_has_not_the_token_is_refused(
    net: Network, app: str, verb: str, path: str, headers: dict[str, str]
) -> None:
    async with net.http(app) as http:
        answer = await http.request(verb, path, headers=headers, json={"arguments": {"expression": "1"}})
    assert answer.status_code == 401, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"] == "UnauthorizedError"
    assert "APP_API_TOKEN" in answer.json()["mend"]
    assert SECRET not in answer.text


async def test_what_has_the_token_is_answered(net: Network) -> None:
    async with net.http("calculator") as http:
        body = {"arguments": {"expression": "6 * 7"}}
        answer = await http.post("/tools/evaluate", headers={TOKEN: SECRET}, json=body)
    assert answer.json()["result"]["value"] == "42"


@pytest.mark.parametrize(
    ("app", "path", "status"),
    [
        ("calculator", "/healthz", 200),
        ("calculator", "/readyz", 200),
        ("gateway", "/agents", 200),
        ("gateway", "/tasks/none", 404),
        ("gateway", "/tasks", 405),
        ("gateway", "/openapi.json", 200),
    ],
)
async def test_health_and_what_is_public_are_open(net: Network, app: str, path: str, status: int) -> None:
    async with net.http(app) as http:
        answer = await http.get(path)
    assert answer.status_code == status, answer.text
