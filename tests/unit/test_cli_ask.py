"""`dovecote ask` and `dovecote agents`, against a gateway that does what the test says."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dovecote.cli import main
from dovecote.cli.rendering import Story
from dovecote.results import TaskEvent
from tests.support.waiting import wait_until

STEP: dict[str, Any] = {
    "agent": "researcher",
    "kind": "tool",
    "name": "knowledge_search",
    "started": "2026-11-21T14:00:00Z",
}
STEP |= {"seconds": 0.25, "arguments": {"query": "lamps [red]"}}
THOUGHT: dict[str, Any] = STEP | {"kind": "model", "name": "model call 1", "arguments": None}
THOUGHT |= {"usage": {"model_calls": 1, "prompt_tokens": 1200, "completion_tokens": 34}}
ANSWER: dict[str, Any] = {
    "text": "It burns 14 litres [lamps.md:3-5].",
    "citations": [{"source": "lamps.md:3-5", "text": "The northern lamp\nburns 14 litres."}],
    "unreadable": ["old.pdf: encrypted"],
}
RESULT: dict[str, Any] = {"task_id": "t1", "status": "completed", "answer": ANSWER, "steps": [THOUGHT, STEP]}
RESULT |= {"usage": THOUGHT["usage"], "seconds": 1.5}
FAILED = {
    "task_id": "t1",
    "status": "failed",
    "error": {"type": "ModelError", "message": "bad key", "mend": "set it"},
}
RUNNING = {"task_id": "t1", "status": "running"}


def event(number: int, kind: str, **parts: Any) -> str:
    """One server-sent event of a task."""
    row = {"id": f"t1.{number}.{kind}", "task_id": "t1", "kind": kind, "agent": "researcher", "text": "", **parts}
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(row)}\n\n"


def result(row: dict[str, Any]) -> str:
    return f"event: result\ndata: {json.dumps(row)}\n\n"


class FakeGateway(ThreadingHTTPServer):
    """Answers each request for the stream with the next of `streams`: text, or a status and a problem."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.streams: list[str | tuple[int, dict[str, Any]]] = [result(RESULT)]
        self.refusal: tuple[int, dict[str, Any]] | None = None
        self.agents: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.seen: list[str | None] = []
        self.released = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: FakeGateway

    def do_POST(self) -> None:
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._json(*self.server.refusal or (202, RUNNING))

    def do_GET(self) -> None:
        if self.path == "/agents":
            self._json(200, self.server.agents)
            return
        self.server.seen.append(self.headers["Last-Event-ID"])
        stream = self.server.streams.pop(0)
        if isinstance(stream, tuple):
            self._json(*stream)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(stream.encode())
        self.wfile.flush()
        if stream.startswith(":"):
            self.server.released.wait(30)  # a task that runs on and on

    def _json(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status < 300 else "application/problem+json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGateway]:
    with FakeGateway() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        monkeypatch.setenv("DOVECOTE_GATEWAY", server.url)
        yield server
        server.released.set()
        server.shutdown()


def run(*arguments: str) -> int:
    """The exit status of a command line."""
    try:
        return main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


def test_an_answer_is_shown_with_its_citations_steps_and_cost(
    gateway: FakeGateway, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("ask", "How much oil?") == 0
    out = capfd.readouterr().out
    assert "It burns 14 litres [lamps.md:3-5]." in out
    assert "  lamps.md:3-5  The northern lamp burns 14 litres." in out
    assert "Not read: old.pdf: encrypted" in out
    assert re.search(r"researcher +model call 1 +0\.25 +1,234", out)
    assert "1.5 s, 1 model call, 1,234 tokens (1,200 in, 34 out)  task t1" in out


def test_steps_are_told_as_they_happen_on_the_error_stream(
    gateway: FakeGateway, capfd: pytest.CaptureFixture[str]
) -> None:
    told = (
        event(1, "started", id="t1.task.started", agent="orchestrator", text="orchestrator takes the task")
        + event(2, "started", agent="orchestrator", text="orchestrator asks researcher")
        + event(3, "started", text="researcher is thinking")
        + event(4, "step", data=THOUGHT)
        + event(5, "step", data=STEP | {"error": "no such folder"})
        + event(6, "progress", text="the model does not answer")
    )
    gateway.streams = [told + result(RESULT)]
    assert run("ask", "How much oil?") == 0
    out, err = capfd.readouterr()
    assert err.splitlines() == [
        "orchestrator asks researcher",
        "  researcher   model call 1  0.25 s, 1,234 tokens",
        '  researcher   knowledge_search(query="lamps [red]")  0.25 s  no such folder',
        "  researcher: the model does not answer",
    ]
    assert "asks researcher" not in out


def test_json_prints_the_result_and_nothing_else(gateway: FakeGateway, capfd: pytest.CaptureFixture[str]) -> None:
    gateway.streams = [event(1, "step", data=STEP) + result(RESULT)]
    assert run("ask", "How much oil?", "--json") == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["answer"] == ANSWER
    assert err == ""


def test_an_answer_that_is_no_text_is_shown_as_json(
    gateway: FakeGateway, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.streams = [result(RESULT | {"answer": {"litres": 14}})]
    assert run("ask", "How much oil?") == 0
    assert '{\n  "litres": 14\n}' in capfd.readouterr().out


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_failed_task_ends_with_status_1_and_the_mend(
    gateway: FakeGateway, capfd: pytest.CaptureFixture[str], options: list[str]
) -> None:
    gateway.streams = [result(FAILED)]
    assert run("ask", "How much oil?", *options) == 1
    out, err = capfd.readouterr()
    assert err == "error: ModelError: bad key\nmend:  set it\n"
    assert (json.loads(out)["status"] if options else out) == ("failed" if options else "")


def test_a_question_that_is_refused_says_why(gateway: FakeGateway, capfd: pytest.CaptureFixture[str]) -> None:
    gateway.refusal = (413, {"title": "TooLargeError", "detail": "it is too long", "mend": "ask a shorter one"})
    assert run("ask", "How much oil?") == 1
    assert capfd.readouterr().err == "error: the gateway answered 413: it is too long\nmend:  ask a shorter one\n"


@pytest.mark.parametrize("arguments", [["  "], [], ["Why?", "--timeout", "0"]])
def test_a_wrong_call_ends_with_status_2(gateway: FakeGateway, arguments: list[str]) -> None:
    assert run("ask", *arguments) == 2
    assert gateway.asked == []


def test_documents_of_this_checkouts_system_are_named_by_their_absolute_path(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("lamps", "deploy/local", ".dovecote"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "dapr.yaml").touch()
    (tmp_path / ".dovecote" / "run.json").write_text(json.dumps({"url": os.environ["DOVECOTE_GATEWAY"]}))
    monkeypatch.delenv("DOVECOTE_GATEWAY")
    monkeypatch.chdir(tmp_path)
    assert run("ask", "How much oil?", "--docs", "no/such/folder") == 2
    assert run("ask", "How much oil?", "--docs", "lamps") == 0
    assert gateway.asked == [{"question": "How much oil?", "docs": str(tmp_path / "lamps")}]


def test_documents_of_another_system_are_named_as_it_knows_them(gateway: FakeGateway) -> None:
    assert run("ask", "How much oil?", "--docs", "handbook/oil") == 0
    assert gateway.asked == [{"question": "How much oil?", "docs": "handbook/oil"}]


def test_a_stream_that_breaks_off_is_taken_up_where_it_was(
    gateway: FakeGateway, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.streams = [
        event(1, "step", data=STEP) + event(2, "step", data=THOUGHT),
        (503, {"detail": "the orchestrator is away"}),
        event(3, "step", data=STEP) + result(RESULT),
    ]
    assert run("ask", "How much oil?") == 0
    err = capfd.readouterr().err
    assert gateway.seen == [None, "2", "2"]
    assert len(gateway.asked) == 1
    assert err.count("knowledge_search") == 2
    assert "the gateway ended the stream before the answer; trying again" in err
    assert "503: the orchestrator is away" in err


def test_a_task_that_is_silent_for_a_while_is_followed(
    gateway: FakeGateway, capfd: pytest.CaptureFixture[str]
) -> None:
    silence = ": still running\n\n"
    gateway.streams = [event(1, "started", text="researcher is thinking") + 2 * silence + result(RESULT)]
    assert run("ask", "How much oil?") == 0
    assert "It burns 14 litres" in capfd.readouterr().out


def test_a_gateway_that_dies_after_the_question_is_tried_until_the_time_is_over(
    gateway: FakeGateway, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.streams = [(503, {"detail": "away"})] * 50
    assert run("ask", "How much oil?", "--timeout", "1.2") == 1
    assert len(gateway.seen) > 1
    assert "error: no answer within 1.2 s\nmend:  the task goes on; wait for it: dovecote ask --task t1\n" in (
        capfd.readouterr().err
    )


def test_a_task_that_says_nothing_is_given_up_in_time(
    gateway: FakeGateway, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.streams = [": still running\n\n"]
    assert run("ask", "How much oil?", "--timeout", "0.3") == 1
    assert "no answer within 0.3 s" in capfd.readouterr().err


def test_a_task_that_runs_already_is_followed_without_asking_again(gateway: FakeGateway) -> None:
    assert run("ask", "--task", "t1") == 0
    assert gateway.asked == []


def test_an_unknown_task_ends_with_status_1(gateway: FakeGateway, capfd: pytest.CaptureFixture[str]) -> None:
    gateway.streams = [(404, {"detail": "there is no task 't2'"})]
    assert run("ask", "--task", "t2") == 1
    assert "there is no task 't2'" in capfd.readouterr().err


def checkout(folder: Path, recorded: str) -> Path:
    """A folder that looks like a checkout, whose launcher has written that file."""
    (folder / "deploy" / "local").mkdir(parents=True)
    (folder / "dapr.yaml").write_text("version: 1\napps: []\n")
    (folder / ".dovecote").mkdir()
    (folder / ".dovecote" / "run.json").write_text(recorded)
    return folder


def test_the_gateway_of_the_checkout_around_the_current_folder_is_asked(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOVECOTE_GATEWAY")
    monkeypatch.chdir(checkout(tmp_path, json.dumps({"pid": 1, "url": gateway.url})) / "deploy")
    assert run("ask", "How much oil?") == 0


def test_the_file_env_of_the_checkout_is_read(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Set and taken back, so that it is gone again after the test, whatever the command makes of it.
    monkeypatch.delenv("DOVECOTE_GATEWAY")
    monkeypatch.chdir(checkout(tmp_path, ""))
    (tmp_path / ".env").write_text(f"DOVECOTE_GATEWAY={gateway.url}\n")
    assert run("ask", "How much oil?") == 0
    assert os.environ["DOVECOTE_GATEWAY"] == gateway.url


@pytest.mark.parametrize("recorded", ["", '{"pid": 1, "url": null}', '{"pid": 1, "url": "http://127.0.0.1:9"}'])
def test_no_running_system_ends_with_status_3_and_says_how_to_start_one(
    recorded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DOVECOTE_GATEWAY", raising=False)
    monkeypatch.chdir(checkout(tmp_path, recorded))
    assert run("ask", "How much oil?") == 3
    assert "make run" in capfd.readouterr().err


def test_outside_of_a_checkout_status_3_names_the_ways_to_a_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DOVECOTE_GATEWAY", raising=False)
    monkeypatch.chdir(tmp_path)
    assert run("agents") == 3
    assert "--gateway or DOVECOTE_GATEWAY" in capfd.readouterr().err


def registration(app_id: str, replica: str, **parts: Any) -> dict[str, Any]:
    row = {"app_id": app_id, "replica": replica, "kind": "agent", "capabilities": [app_id, "research"], "lease": 15}
    return {**row, **parts}


def presence(app_id: str, **parts: Any) -> dict[str, Any]:
    row = {"app_id": app_id, "kind": "agent", "state": "online", "since": "2026-05-04T03:02:01Z"}
    return {**row, **parts}


def test_agents_are_listed_with_their_replicas(gateway: FakeGateway, capfd: pytest.CaptureFixture[str]) -> None:
    functions = [{"name": "search", "description": "Passages.", "parameters": {}}]
    knowledge = registration("knowledge", "c", kind="tool", capabilities=["knowledge"], tools=functions)
    gateway.agents = [
        presence("researcher", replicas=[registration("researcher", "a"), registration("researcher", "b")]),
        presence("knowledge", kind="tool", replicas=[knowledge]),
        presence("writer", state="offline - ungraceful disconnect"),
    ]
    assert run("agents") == 0
    lines = capfd.readouterr().out.splitlines()
    assert re.fullmatch(r"researcher +agent +online +2 +research *", lines[1])
    assert re.fullmatch(r"knowledge +tool +online +1 +search *", lines[2])
    assert re.fullmatch(r"writer +agent +offline - ungraceful +0 *", lines[3])
    assert lines[4].strip() == "disconnect"
    assert run("agents", "--json") == 0
    rows = json.loads(capfd.readouterr().out)
    assert [(row["app_id"], row["state"]) for row in rows] == [
        ("researcher", "online"),
        ("knowledge", "online"),
        ("writer", "offline - ungraceful disconnect"),
    ]
    assert [one["replica"] for row in rows for one in row["replicas"]] == ["a", "b", "c"]


def test_output_that_goes_to_no_terminal_has_no_escape_codes(
    gateway: FakeGateway, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.streams = [event(1, "step", data=STEP), result(RESULT)]
    assert run("ask", "How much oil?") == 0
    out, err = capfd.readouterr()
    assert "\x1b" not in out + err


def test_an_interrupt_leaves_the_task_running_and_says_how_to_come_back(gateway: FakeGateway) -> None:
    gateway.streams = [": still running\n\n"]
    command = [sys.executable, "-c", "import sys; from dovecote.cli import main; sys.exit(main())"]
    with subprocess.Popen([*command, "ask", "How much oil?"], stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: gateway.seen, "the stream", 50)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == "Interrupted; the task goes on; wait for it: dovecote ask --task t1\n"


def test_a_terminal_shows_what_goes_on_now() -> None:
    screen = io.StringIO()
    story = Story(Console(file=screen, force_terminal=True, width=80))
    story.tell(TaskEvent.model_validate_json(event(1, "started", text="researcher is thinking").split("data: ")[1]))
    story.end()
    assert "researcher is thinking" in screen.getvalue()
    assert "\x1b[?25h" in screen.getvalue(), "the cursor is shown again"
