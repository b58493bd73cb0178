"""The gateway's answers to what is wrong."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from dovecote.settings import Settings
from dovecote.testing import Network
from services.directory.main import app as directory
from services.gateway.main import app as gateway
from services.orchestrator.main import orchestrator

pytestmark = pytest.mark.asyncio(loop_scope="session")

_SETTINGS = Settings(max_question=50, agent_wait=0)


@pytest_asyncio.fixture(loop_scope="session")
async def net() -> AsyncIterator[Network]:
    async with Network([directory, gateway, orchestrator], settings=_SETTINGS) as network:
        yield network


def _is_problem(answer: Any, status: int, title: str, detail: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["title"], body["type"]) == (status, title, f"urn:dovecote:{title}")
    assert detail in body["detail"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("body", [{"question": ""}, {"question": " \n\t"}, {}, {"question": None}, [], "text"])
async def test_an_empty_question_is_refused(net: Network, body: Any) -> None:
    async with net.http("gateway") as http:
        _is_problem(await http.post("/tasks", json=body), 422, "InvalidInputError", "body")
    assert net.workflows("orchestrator").instances() == []


@pytest.mark.parametrize(("text", "status"), [("{", 422), ("\xff", 400), ("", 422)])
async def test_a_body_that_is_no_json_is_refused(net: Network, text: str, status: int) -> None:
    async with net.http("gateway") as http:
        headers = {"content-type": "application/json"}
        answer = await http.post("/tasks", content=text.encode("latin-1"), headers=headers)
    _is_problem(answer, status, "InvalidInputError", "body")


@pytest.mark.parametrize(
    ("verb", "path", "status", "title"),
    [("GET", "/nowhere", 404, "NotFoundError"), ("DELETE", "/tasks", 405, "InvalidInputError")],
)
async def test_a_wrong_path_or_verb_is_named(net: Network, verb: str, path: str, status: int, title: str) -> None:
    async with net.http("gateway") as http:
        answer = await http.request(verb, path)
    _is_problem(answer, status, title, f"{verb} {path}")


async def test_a_question_over_the_limit_is_refused_with_the_limit(net: Network) -> None:
    async with net.http("gateway") as http:
        answer = await http.post("/tasks", json={"question": "x" * 51})
        _is_problem(answer, 413, "TooLargeError", "51 characters; 50 are taken")
        assert answer.json()["mend"] == "ask a shorter one"
        assert (await http.post("/tasks", json={"question": "x" * 50})).status_code == 202


@pytest.mark.parametrize("path", ["/tasks/nobody", "/tasks/nobody/events"])
async def test_an_unknown_task_is_not_found(net: Network, path: str) -> None:
    async with net.http("gateway") as http:
        answer = await http.get(path)
    _is_problem(answer, 404, "NotFoundError", "there is no task 'nobody'")
    assert answer.json()["mend"]


async def test_without_the_orchestrator_the_door_says_that_it_is_away(net: Network) -> None:
    await net.stop("orchestrator")
    async with net.http("gateway") as http:
        answer = await http.post("/tasks", json={"question": "Why?"})
    _is_problem(answer, 503, "AgentUnavailableError", "'orchestrator' cannot be reached")


async def test_a_question_waits_for_an_orchestrator_that_is_away_and_is_one_task() -> None:
    settings = _SETTINGS.model_copy(update={"agent_wait": 20})
    async with Network([directory, gateway, orchestrator], settings=settings) as net, net.http("gateway") as http:
        await net.stop("orchestrator")
        asked = asyncio.create_task(http.post("/tasks", json={"question": "Why?"}))
        assert (await http.get("/healthz")).status_code == 200
        assert not asked.done()
        await net.start("orchestrator")
        answer = await asked
        assert answer.status_code == 202, answer.text
        assert net.workflows("orchestrator").instances() == [answer.json()["task_id"]]


async def test_health_and_readiness_are_told(net: Network) -> None:
    async with net.http("gateway") as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        assert (await http.get("/readyz")).json() == {"ready": True, "missing": [], "notes": []}
        rows = (await http.get("/agents")).json()
        assert [(row["app_id"], row["state"]) for row in rows] == [
            ("directory", "online"),
            ("gateway", "online"),
            ("orchestrator", "online"),
        ]
