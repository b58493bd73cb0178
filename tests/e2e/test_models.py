"""Another model is another folder of components/llm: the sidecar takes each of them as it is."""

from pathlib import Path

import httpx
import pytest

from deploy.local.errors import LauncherError
from deploy.local.system import System
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
