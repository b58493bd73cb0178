"""Two replicas of the gateway: an external tool is one tool, whichever of them has to do with it."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from deploy.local.runfile import load_run_file
from deploy.local.system import System
from tests.support.brokers import broker_setup
from tests.support.scale import Scale, scale
from tests.support.stock_clients import StockClient, stock_client
from tests.support.waiting import wait_until
from tests.support.whole import CHECKOUT, replica

pytestmark = [pytest.mark.timeout(600), pytest.mark.promise("ARG-09", "ARG-18")]
GATEWAYS = ["gateway", "gateway-2"]
RESEND_AFTER = 20  # seconds: in a test, what is sent again is an answer that was lost


@pytest.fixture(scope="module", params=["redis", "mqtt"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[System, StockClient]]:
    home = tmp_path_factory.mktemp(request.param)
    by_name = {app.app_id: app for app in load_run_file(CHECKOUT / "dapr.yaml").select(None)}
    with (
        broker_setup(request.param, home / "broker") as setup,
        System(
            CHECKOUT,
            home,
            apps=[*(by_name[name] for name in ("gateway", "directory", "recorder")), replica(by_name["gateway"])],
            broker=request.param,
            brokers=setup.brokers,
            with_model=False,
            env={"DOVECOTE_RESEND_AFTER": str(RESEND_AFTER), **setup.env},
        ) as system,
    ):
        yield system, stock_client(request.param, system.env)


@pytest.fixture
def system(running: tuple[System, StockClient]) -> System:
    return running[0]


@pytest.fixture
def tool(running: tuple[System, StockClient]) -> Iterator[Scale]:
    with scale(running[1]) as tool:
        yield tool


def weigh(url: str, what: str, call_id: str | None = None) -> object:
    """What a caller at the address is answered."""
    body = {"arguments": {"what": what}, **({"id": call_id} if call_id else {})}
    answer = httpx.post(url, json=body, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer.json()


def grams(what: str) -> object:
    """The answer to a call."""
    return {"result": {"grams": len(what)}, "error": None}


def weighed(tool: Scale) -> list[str]:
    """What the tool was asked to weigh."""
    return [str(call["arguments"]["what"]) for call in tool.seen]


def through(system: System, name: str) -> str:
    """The tool's address, at a replica or, from `recorder`, through its sidecar, which takes any of them."""
    if name in GATEWAYS:
        return f"{system.url(name)}/tools/scale"
    return f"{system.sidecar_url(name)}/v1.0/invoke/gateway/method/tools/scale"


def test_every_call_is_made_once_and_answered_at_whichever_replica_it_is_made(system: System, tool: Scale) -> None:
    words = ["x" * number for number in range(1, 31)]
    urls = [through(system, name) for name in [*GATEWAYS, "recorder"] * 10]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(weigh, urls, words))
    assert answers == [grams(what) for what in words]
    assert sorted(weighed(tool)) == words


def test_one_call_at_both_replicas_has_one_answer(system: System, tool: Scale) -> None:
    call = uuid.uuid4().hex
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda name: weigh(through(system, name), "anvil", call), GATEWAYS))
    assert answers == [grams("anvil")] * 2
    assert weighed(tool) == ["anvil"]


@pytest.mark.parametrize(("stopped", "left"), [GATEWAYS, GATEWAYS[::-1]])
def test_the_replica_that_is_left_answers(system: System, tool: Scale, stopped: str, left: str) -> None:
    system.halt(stopped)
    try:
        assert weigh(through(system, left), "anvil") == grams("anvil")
    finally:
        system.resume(stopped)
        system.wait_ready()
    assert weighed(tool) == ["anvil"]


def test_a_tool_that_leaves_is_gone_at_both_replicas(running: tuple[System, StockClient], tool: Scale) -> None:
    system, client = running
    assert [weigh(through(system, name), "anvil") for name in GATEWAYS] == [grams("anvil")] * 2
    assert weighed(tool) == ["anvil"] * 2
    client.publish("agent/tools/register", '{"name": "scale", "unregister": true}')

    def refused() -> bool:
        body = {"arguments": {"what": "anvil"}}
        answers = [httpx.post(through(system, name), json=body, timeout=60, trust_env=False) for name in GATEWAYS]
        return [answer.status_code for answer in answers] == [404, 404]

    wait_until(refused, "both to have forgotten the tool", 20)
