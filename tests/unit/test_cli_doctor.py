"""`dovecote doctor`: what it finds wrong, and the mend."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from dovecote.cli import main
from dovecote.cli.checking import (
    Check,
    check_breakers,
    check_components,
    check_gateway,
    check_python,
    check_run_file,
    check_runtime,
    check_system,
)
from tests.support.fake_dapr import bare_machine, write_dapr

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what doctor reads in a checkout."""
    copy = tmp_path / "checkout"
    shutil.copytree(CHECKOUT / "components", copy / "components")
    shutil.copy(CHECKOUT / "dapr.yaml", copy)
    (copy / "deploy" / "local").mkdir(parents=True)
    (copy / ".dovecote").mkdir()
    return copy


def problems(checks: Iterator[Check]) -> list[tuple[str, str, str]]:
    return [(check.name, check.text, check.mend) for check in checks if not check.ok]


def test_a_sound_checkout_has_no_problem(checkout: Path) -> None:
    assert problems(check_components(checkout)) == []
    assert check_run_file(checkout).ok
    assert [(check.ok, check.text) for check in check_system(checkout)] == [
        (True, "none runs here; make run starts one")
    ]


async def test_a_system_elsewhere_is_asked_at_its_gateway() -> None:
    since = "2026-01-02T03:04:05Z"
    replica = {"app_id": "writer", "replica": "1", "kind": "agent", "capabilities": [], "lease": 15}
    rows = [
        {"app_id": "writer", "kind": "agent", "state": "online", "since": since, "replicas": [replica] * 2},
        {"app_id": "reviewer", "kind": "agent", "state": "offline - ungraceful disconnect", "since": since},
    ]
    answers = httpx.MockTransport(lambda _: httpx.Response(200, json=rows))
    assert await check_gateway("http://far.example", answers) == [
        Check("gateway", True, "answers at http://far.example"),
        Check("writer", True, "online, replicas: 2"),
        Check(
            "reviewer", False, "offline - ungraceful disconnect since 2026-01-02 03:04:05 UTC", "look into its log"
        ),
    ]


async def test_a_system_elsewhere_that_does_not_answer_is_a_problem() -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    [check] = await check_gateway("http://far.example", httpx.MockTransport(refuse))
    assert (check.name, check.ok) == ("gateway", False)
    assert "nothing answers at http://far.example" in check.text


def test_an_old_python_is_named() -> None:
    assert check_python((3, 11, 0)).ok
    assert check_python((3, 10, 9)) == Check(
        "python", False, "3.10.9", "install 3.11 or later, then: make clean setup PYTHON=python3.12"
    )


def test_a_component_that_is_no_yaml_is_named_with_the_line(checkout: Path) -> None:
    (checkout / "components/llm/demo/llm.yaml").write_text("spec: [")
    [(name, text, mend)] = problems(check_components(checkout))
    assert name == "components/llm/demo/llm.yaml"
    assert "line 1" in text
    assert mend == "edit components/llm/demo/llm.yaml"


@pytest.mark.parametrize(
    ("path", "old", "new", "text"),
    [
        ("pubsub/redis/pubsub.yaml", "name: pubsub", "name: bus", "its component is called 'bus'"),
        (
            "pubsub/redis/pubsub.yaml",
            "pubsub.redis",
            "pubsub.pigeon",
            "capabilities.yaml has no row 'pubsub.pigeon'",
        ),
        (
            "pubsub/mqtt/pubsub.yaml",
            "- name: qos",
            "- name: qoss",
            "pubsub.mqtt3 has no setting 'qoss', and would ignore it: did you mean 'qos'?",
        ),
        ("llm/demo/llm.yaml", "metadata:\n  name: llm", "metadata: {}", "it is no Dapr resource"),
    ],
)
def test_names_that_do_not_agree_are_told(checkout: Path, path: str, old: str, new: str, text: str) -> None:
    file = checkout / "components" / path
    file.write_text(file.read_text().replace(old, new, 1))
    [(name, found, _)] = problems(check_components(checkout))
    assert name == f"components/{path}"
    assert text in found


def test_missing_capabilities_are_told(checkout: Path) -> None:
    (checkout / "components" / "capabilities.yaml").unlink()
    [(name, _, mend)] = problems(check_components(checkout))
    assert (name, mend) == ("capabilities.yaml", "restore it: git checkout components/capabilities.yaml")


def test_a_run_file_with_a_port_twice_is_told(checkout: Path) -> None:
    file = checkout / "dapr.yaml"
    file.write_text(file.read_text().replace("appPort: 21020", "appPort: 21010"))
    check = check_run_file(checkout)
    assert not check.ok
    assert "port 21010 is used 2 times" in check.text


def test_a_machine_without_dapr_is_no_problem_and_says_how_it_is_got(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare_machine(monkeypatch, tmp_path)
    check = check_runtime(CHECKOUT)
    assert check.ok
    assert "the first run downloads it, or builds it" in check.text


def test_an_installed_dapr_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = bare_machine(monkeypatch, tmp_path)
    write_dapr(programs, "1.18.3")
    check = check_runtime(CHECKOUT)
    assert (check.ok, check.text) == (True, f"1.18.3 as {programs / 'daprd'}")


def test_a_named_dapr_that_does_not_fit_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare_machine(monkeypatch, tmp_path)
    monkeypatch.setenv("DOVECOTE_DAPR_HOME", str(write_dapr(tmp_path / "old", "1.15.0")))
    check = check_runtime(CHECKOUT)
    assert not check.ok
    assert "1.15.0" in check.text
    assert check.mend == "unset it, and Dapr is fetched"


@contextlib.contextmanager
def _gateway(checkout: Path, status: int, body: bytes) -> Iterator[str]:
    """A system whose gateway says this of its health, and of which no other app answers; gives its address."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        url = f"http://127.0.0.1:{server.server_port}"
        (checkout / ".dovecote" / "run.json").write_text(json.dumps({"pid": 1, "created": 1, "url": url}))
        # An offset at which nothing listens: ports below 1024 are not handed out.
        (checkout / ".dovecote" / "ports.json").write_text(json.dumps({"offset": -20990}))
        try:
            yield url
        finally:
            server.shutdown()


def test_every_app_that_is_not_ready_is_told_with_its_log(checkout: Path) -> None:
    with _gateway(checkout, 503, b'{"ready":false,"missing":["no sidecar"]}'):
        found = {name: (text, mend) for name, text, mend in problems(check_system(checkout))}
    text, mend = found["gateway"]
    assert text == 'not ready: {"ready":false,"missing":["no sidecar"]}'
    assert mend == "look into .dovecote/logs/gateway.log"
    assert "does not answer" in found["researcher"][0]
    assert len(found) == 9


@pytest.mark.promise("ACS-08")
def test_what_a_ready_app_notes_of_its_state_is_told(checkout: Path) -> None:
    with _gateway(checkout, 200, b'{"ready":true,"missing":[],"notes":["state is kept in memory"]}') as url:
        [gateway] = [check for check in check_system(checkout) if check.name == "gateway"]
    assert gateway == Check("gateway", True, f"ready at {url}; state is kept in memory")


def _sidecars(**states: str) -> tuple[httpx.Client, dict[str, str]]:
    """A client of sidecars whose breaker is in such a state; of one that is "away" nothing is heard."""

    def answer(request: httpx.Request) -> httpx.Response:
        state = states[request.url.host]
        if state == "away":
            raise httpx.ConnectError("refused")
        labels = f'app_id="{request.url.host}",target="Conversation_llm"'
        rows = [
            f'dapr_resiliency_cb_state{{{labels},status="{one}"}} {one == state:d}'
            for one in ("closed", "half-open", "open", "unknown")
        ]
        head = ["# TYPE dapr_resiliency_cb_state gauge", "# TYPE dapr_http_server_latency histogram"]
        return httpx.Response(200, text="\n".join([*head, *(rows if state else []), ""]))

    return httpx.Client(transport=httpx.MockTransport(answer)), {name: f"http://{name}/metrics" for name in states}


def test_an_open_circuit_breaker_is_a_problem_that_names_the_app_and_the_target() -> None:
    check = check_breakers(*_sidecars(writer="open", reviewer="closed", researcher="half-open", gateway=""))
    states = {"writer": "open", "reviewer": "closed", "researcher": "half-open"}
    told = [f"{app} to Conversation_llm: {state} at its last call" for app, state in states.items()]
    assert (check.ok, check.text) == (False, "; ".join(told))
    assert "the next question that succeeds closes it (dovecote ask)" in check.mend


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ("closed", "writer to Conversation_llm: closed at its last call"),
        ("", "no call came to one yet"),
        ("away", "no call came to one yet; the sidecar of writer has no measures (refused)"),
    ],
)
def test_circuit_breakers_that_are_not_open_are_no_problem(state: str, text: str) -> None:
    assert check_breakers(*_sidecars(writer=state)) == Check("circuit breakers", True, text)


def test_the_status_is_1_where_there_is_a_problem(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(checkout)
    (checkout / "components/llm/demo/llm.yaml").write_text("spec: [")
    with pytest.raises(SystemExit) as end:
        main(["doctor"])
    assert end.value.code == 1
    out = capfd.readouterr().out
    assert "problem  components/llm/demo/llm.yaml: " in out
    assert "         mend: edit components/llm/demo/llm.yaml" in out
    with pytest.raises(SystemExit) as end:
        main(["doctor", "--json"])
    assert end.value.code == 1
    assert [row["name"] for row in json.loads(capfd.readouterr().out) if not row["ok"]] == [
        "components/llm/demo/llm.yaml"
    ]
