"""Another model is another folder of components/llm: the sidecar takes each of them as it is."""

from pathlib import Path

import httpx
import pytest

from deploy.local.errors import LauncherError
from deploy.local.system import System
from dovecote.cli.breakers import Breaker, read_breakers
from dovecote.cli.checking import check_breakers
from tests.support.model_server import ModelServer
from tests.support.waiting import wait_until
from tests.support.whole import CHECKOUT

pytestmark = pytest.mark.timeout(120)


def _types(home: Path, llm: str, env: dict[str, str]) -> list[str]:
    with System(CHECKOUT, home, apps=["directory", "writer"], llm=llm, env=env, with_model=False) as system:
        loaded = httpx.get(f"{system.sidecar_url('writer')}/v1.0/metadata").json()["components"]
    return [str(component["type"]) for component in loaded if component["name"] == "llm"]


@pytest.mark.parametrize(
    ("llm", "env"),
    [("openai", {"OPENAI_API_KEY": "a-key"}), ("anthropic", {"ANTHROPIC_API_KEY": "a-key"}), ("ollama", {})],
)
def test_each_model_folder_loads(tmp_path: Path, llm: str, env: dict[str, str]) -> None:
    assert _types(tmp_path, llm, env) == [f"conversation.{llm}"]


def test_a_model_without_its_key_is_refused_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(LauncherError, match="key is read from OPENAI_API_KEY, which is not set"):
        _types(tmp_path, "openai", {})


def test_a_model_folder_that_does_not_exist_is_named_with_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(LauncherError, match=r"'gpt'.*anthropic.*demo.*ollama.*openai"):
        _types(tmp_path, "gpt", {})


@pytest.mark.promise("AOS-12")
def test_a_model_that_fails_is_left_alone_for_a_while_and_that_is_seen(tmp_path: Path) -> None:
    away = {"rules": [{"error": {"status": 503}}]}
    with (
        ModelServer(away) as model,
        System(
            CHECKOUT,
            tmp_path,
            apps=["directory", "writer"],
            llm="demo",
            env={"DEMO_MODEL_URL": model.url},
            with_model=False,
        ) as system,
        httpx.Client(trust_env=False, timeout=30) as client,
    ):
        base, _, port = system.sidecar_url("writer").rpartition(":")
        measures = f"{base}:{int(port) + 3}/metrics"

        def call() -> httpx.Response:
            said = {"messages": [{"ofUser": {"content": [{"text": "Hello"}]}}]}
            url = f"{system.sidecar_url('writer')}/v1.0-alpha2/conversation/llm/converse"
            return client.post(url, json={"inputs": [said]})

        def state() -> list[str]:
            found = read_breakers(client, measures)
            assert found == [Breaker("writer", "Conversation_llm", one.state) for one in found]
            return [one.state for one in found]

        assert state() == []
        for _ in range(6):
            assert "503" in call().text
        assert model.totals()["calls"] == 6
        assert "circuit breaker is open" in call().text
        assert model.totals()["calls"] == 6
        assert state() == ["open"]
        check = check_breakers(client, {"writer": measures})
        assert (check.ok, check.text) == (False, "writer to Conversation_llm: open at its last call")
        model.set_script({})
        wait_until(lambda: call().is_success, "the model", 30)
        assert call().is_success
        assert state() == ["closed"]
        assert model.totals()["calls"] == 8
        assert check_breakers(client, {"writer": measures}).ok
