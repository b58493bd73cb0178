"""Serving one module."""

import asyncio
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import uvicorn
from fastapi import FastAPI

from dovecote import serve
from dovecote.settings import get_settings
from tests.support.ports import free_ports


@pytest.fixture(autouse=True)
def _modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(tmp_path))
    get_settings.cache_clear()
    before = set(sys.modules)
    yield
    get_settings.cache_clear()
    for name in set(sys.modules) - before:
        del sys.modules[name]


def _module(folder: Path, name: str, text: str) -> str:
    (folder / f"{name}.py").write_text(text)
    return name


def test_a_modules_app_is_served_where_the_sidecar_looks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[uvicorn.Config] = []

    def run(server: uvicorn.Server) -> None:
        served.append(server.config)
        server.started = True

    monkeypatch.setattr(uvicorn.Server, "run", run)
    monkeypatch.setenv("APP_PORT", "21999")
    name = _module(tmp_path, "good_service", "from dovecote import App\napp = App('good').asgi\n")
    assert serve.main([name]) == 0
    (config,) = served
    assert cast("FastAPI", config.app).title == "good"
    assert (config.host, config.port) == ("127.0.0.1", 21999)


def test_an_interrupt_is_an_end_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(server: uvicorn.Server) -> None:
        server.started = True
        raise KeyboardInterrupt

    monkeypatch.setattr(uvicorn.Server, "run", run)
    name = _module(tmp_path, "good_service", "from dovecote import App\napp = App('good').asgi\n")
    assert serve.main([name]) == 0


def test_an_app_that_does_not_start_ends_with_a_status_that_says_so(tmp_path: Path) -> None:
    lines = (
        "from contextlib import asynccontextmanager",
        "from fastapi import FastAPI",
        "@asynccontextmanager",
        "async def failing(_):",
        "    raise RuntimeError('no')",
        "    yield",
        "app = FastAPI(lifespan=failing)",
    )
    with pytest.raises(SystemExit, match="3"):
        serve.main([_module(tmp_path, "failing_service", "\n".join(lines))])


@pytest.mark.promise("ACS-08")
def test_an_app_that_cannot_work_with_its_sidecar_ends_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (
        "from contextlib import asynccontextmanager",
        "from fastapi import FastAPI",
        "from dovecote.errors import ConfigurationError",
        "@asynccontextmanager",
        "async def learning(api):",
        "    api.state.fault = ConfigurationError('state is elsewhere', mend='move it')",
        "    yield",
        "app = FastAPI(lifespan=learning)",
    )
    monkeypatch.setenv("APP_PORT", str(free_ports(1)[0]))
    assert serve.main([_module(tmp_path, "learning_service", "\n".join(lines))]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "learning_service: state is elsewhere (move it)"


@pytest.mark.parametrize("hurried", [False, True])
async def test_the_port_closes_after_deliveries_unless_the_user_is_in_a_hurry(
    monkeypatch: pytest.MonkeyPatch, *, hurried: bool
) -> None:
    closed = asyncio.Event()
    retired = asyncio.Event()

    async def shutdown(*_: Any) -> None:
        closed.set()

    async def retire() -> None:
        await retired.wait()

    monkeypatch.setattr(uvicorn.Server, "shutdown", shutdown)
    server = serve.Server(uvicorn.Config("app", timeout_graceful_shutdown=7), retire)
    ending = asyncio.create_task(server.shutdown())
    done, _ = await asyncio.wait([ending], timeout=0.3)
    assert not done
    assert not closed.is_set()
    if hurried:
        server.force_exit = True
    else:
        retired.set()
    await ending
    assert closed.is_set()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the module has no `app`"),
        ("app = 17", "the module has no `app`"),
        (
            "import dovecote\ntools = dovecote.Tools('t')\n@tools.tool\ndef silent(): ...\napp = tools.app",
            "tool function 'silent' has no docstring",
        ),
        ("from dovecote import App\napp = App('Not Good').asgi", "app name 'Not Good' is not an app-id"),
        ("from dovecote import Orchestrator\napp = Orchestrator('o').app", "orchestrator 'o' has no plan"),
    ],
)
def test_a_module_that_is_wrong_is_refused_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    name = _module(tmp_path, "bad_service", text)
    assert serve.main([name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"bad_service: {said}")
    assert line.endswith(")")


@pytest.mark.parametrize("name", ["no_such_module", "no_such_package.main", "services.no_such_service.main"])
def test_a_module_that_is_not_there_is_refused_with_one_line(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert serve.main([name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "there is no module" in line


def test_what_a_module_imports_and_is_not_there_is_not_taken_for_the_module(tmp_path: Path) -> None:
    name = _module(tmp_path, "importing_service", "import no_such_library\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        serve.main([name])


@pytest.mark.parametrize("arguments", [[], ["a", "b"]])
def test_wrong_usage_says_how(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert serve.main(arguments) == 2
    assert "usage: python -m dovecote.serve [--bridge] MODULE" in capsys.readouterr().err


def test_a_wrong_setting_is_refused_by_its_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOVECOTE_CONCURRENCY", "many")
    assert serve.main(["services.gateway.main"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "DOVECOTE_CONCURRENCY: Input should be a valid integer" in line
    assert ".env.example" in line
