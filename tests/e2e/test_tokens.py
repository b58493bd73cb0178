"""Tokens between apps and real sidecars."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.local.errors import NotReadyError
from deploy.local.runfile import load_run_file
from deploy.local.system import System
from tests.support.scale import scale
from tests.support.stock_clients import stock_client
from tests.support.waiting import wait_until
from tests.support.whole import CHECKOUT, Whole, whole

pytestmark = pytest.mark.timeout(600)
TOKENS = {"DAPR_API_TOKEN": "known to sidecars", "APP_API_TOKEN": "known to apps"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with whole(tmp_path_factory.mktemp("guarded"), TOKENS) as system:
        yield system


@pytest.fixture
def system(guarded: Whole) -> System:
    return guarded.system


def test_a_question_is_answered_with_tokens_on_every_way(guarded: Whole, documents: Path) -> None:
    result = guarded.ask("What does the northern lamp burn?", documents)
    assert result["status"] == "completed", result["error"]
    assert "14 litres" in result["answer"]["text"]


def test_a_call_through_sidecars_needs_the_token_of_sidecars(system: System) -> None:
    url = f"{system.sidecar_url('gateway')}/v1.0/invoke/calculator/method/tools/evaluate"
    body = {"arguments": {"expression": "6 * 7"}}
    assert httpx.post(url, json=body).status_code == 401
    header = {"dapr-api-token": TOKENS["DAPR_API_TOKEN"]}
    assert httpx.post(url, json=body, headers=header).json()["result"]["value"] == "42"


def test_a_call_that_passes_by_the_sidecar_is_refused(system: System) -> None:
    url = f"{system.url('calculator')}/tools/evaluate"
    answer = httpx.post(url, json={"arguments": {"expression": "6 * 7"}})
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert httpx.post(f"{system.url('researcher')}/deliveries/0", json={}).status_code == 401
    assert httpx.get(f"{system.url('researcher')}/dapr/subscribe").status_code == 401


def test_the_answers_of_an_external_tool_are_heard(system: System) -> None:
    header = {"dapr-api-token": TOKENS["APP_API_TOKEN"]}
    body = {"arguments": {"what": "anvil"}}
    with scale(stock_client("redis", system.env)):
        answer = httpx.post(f"{system.url()}/tools/scale", json=body, headers=header, timeout=60)
    assert answer.json() == {"result": {"grams": 5}, "error": None}


def test_an_app_that_has_another_token_than_its_sidecar_says_so(tmp_path: Path) -> None:
    [calculator] = load_run_file(CHECKOUT / "dapr.yaml").select(["calculator"])
    app = calculator.model_copy(update={"env": {"DAPR_API_TOKEN": "another"}})
    system = System(CHECKOUT, tmp_path, apps=[app], env=TOKENS, with_model=False)
    system.start()
    try:
        reason = "the sidecar has another DAPR_API_TOKEN than the app"
        wait_until(lambda: reason in _readiness(system), "the app to know why it is not ready", 60, interval=0.2)
        with pytest.raises(NotReadyError, match=reason):
            system.wait_ready(1)
    finally:
        system.stop()


def _readiness(system: System) -> str:
    try:
        return httpx.get(f"{system.url('calculator')}/readyz").text
    except httpx.TransportError as error:
        return str(error)
