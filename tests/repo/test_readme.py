"""The README: every command in it is run here or by the test that is named, and its lists are true."""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from fastapi import FastAPI

from deploy.local.progress import Progress
from deploy.local.runfile import App, load_run_file
from deploy.local.runtime import get_runtime
from dovecote import Agent, Orchestrator, Tools
from dovecote import App as Service
from tests.support.checkout import processes_of
from tests.support.pages import blocks, load
from tests.support.waiting import wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
README = (CHECKOUT / "README.md").read_text()
# A start on a busy machine, or one that must build Dapr first.
START_SECONDS = 1200
pytestmark = pytest.mark.timeout(1500)

RUN = "make run"
ASK = 'make ask Q="What does durable mean for events, and what is 12% of 1,250?" DOCS=components'
SERVERS = ".venv/bin/python -m deploy.local up --infra"
BY_HAND = ". .dovecote/env && dapr run -f dapr.yaml"
ASK_BY_HAND = '.venv/bin/dovecote ask "What is 2 ** 10?" --gateway http://127.0.0.1:21010'
ASK_JSON = '.venv/bin/dovecote ask "What is 2 ** 10?" --json'

HERE = "test_readme.py::test_the_commands_of_the_first_screen_do_what_is_shown"
BY_HAND_TEST = "test_readme.py::test_the_system_runs_by_hand"
WALKED_BY = {
    RUN: HERE,
    ASK: HERE,
    "make agents": HERE,
    "make doctor": HERE,
    ASK_JSON: HERE,
    "make down": HERE,
    SERVERS: BY_HAND_TEST,
    BY_HAND: BY_HAND_TEST,
    ASK_BY_HAND: BY_HAND_TEST,
    "make test": "test_make.py::test_make_test_is_lint_format_types_and_all_tests_in_the_end",
    "make lint": "test_make.py::test_the_parts_of_the_tests_run_by_themselves",
    "make unit": "test_make.py::test_the_parts_of_the_tests_run_by_themselves",
    "make e2e": "test_make.py::test_the_parts_of_the_tests_run_by_themselves",
    "make conformance": "test_make.py::test_the_parts_of_the_tests_run_by_themselves",
    "make fuzz": "test_make.py::test_the_parts_of_the_tests_run_by_themselves",
    "make promises": "test_make.py::test_the_parts_of_the_tests_run_by_themselves",
    "make bench": "test_make.py::test_the_parts_of_the_tests_run_by_themselves",
}


def after(command: str) -> str:
    """The output that is shown below a command."""
    return blocks("text", README.partition(f"{command}\n```\n")[2])[0]


def test_every_command_is_walked_by_a_test() -> None:
    commands = [line for block in blocks("sh", README) for line in block.splitlines()]
    assert sorted(commands) == sorted(WALKED_BY)
    for test in WALKED_BY.values():
        file, _, name = test.partition("::")
        assert f"def {name}(" in (Path(__file__).with_name(file)).read_text(), f"there is no test {test}"


class Shell:
    """A copy of the checkout, in which the commands of the README are run as they stand there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in listed.stdout.splitlines():
            if (CHECKOUT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(CHECKOUT / name, folder / name)
        (folder / ".venv").symlink_to(CHECKOUT / ".venv")
        # What the checkout has installed is used; nothing is installed from here.
        stamp = folder / ".installed"
        stamp.touch()
        unset = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "DOVECOTE_GATEWAY")
        self.env = {name: value for name, value in os.environ.items() if name not in unset}
        self.env |= {"STAMP": str(stamp), "PYTHONUNBUFFERED": "1"}

    def code(self) -> str:
        """A hash of the files of the library and the services, except what Python compiles."""
        found = hashlib.sha256()
        for root in ("src", "services"):
            for path in sorted(path for path in (self.folder / root).rglob("*") if path.is_file()):
                if path.suffix != ".pyc":
                    found.update(str(path.relative_to(self.folder)).encode() + path.read_bytes())
        return found.hexdigest()

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    @contextmanager
    def serving(self, command: str, until: str) -> Iterator[Path]:
        """Run a command that serves, in a group of its own as a terminal would; gives the file of its output."""
        path = self.folder / f".output-{len(list(self.folder.glob('.output-*')))}"
        with path.open("w") as output:
            process = subprocess.Popen(
                ["sh", "-c", command],
                cwd=self.folder,
                env=self.env,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                wait_until(lambda: until in path.read_text() or process.poll() is not None, command, START_SECONDS)
                assert process.poll() is None, path.read_text()
                yield path
            finally:
                interrupt(process)


def interrupt(process: subprocess.Popen[bytes]) -> None:
    """What Ctrl-C in a terminal does, and the wait for the end of the command and its children."""
    if process.poll() is not None:
        return
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
    # `dapr run` makes a group of its own, which an interactive shell had done before it.
    for group in {os.getpgid(member.pid) for member in family}:
        os.killpg(group, signal.SIGINT)
    process.wait(60)
    _, alive = psutil.wait_procs(family, 60)
    assert alive == []


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    yield Shell(tmp_path)
    for process in processes_of(tmp_path):
        process.kill()


def shape(text: str) -> str:
    """A text with its figures and ids taken out, and its columns closed up."""
    text = re.sub(r"task [0-9a-f-]{36}", "task ID", text)
    return re.sub(r" +", " ", re.sub(r"\d[\d.,]*", "N", text))


def shown_answer(command: str) -> str:
    """The paragraph of a shown output that holds the answer: the one that cites."""
    [paragraph, *_] = [part for part in after(command).split("\n\n") if re.search(r"\[\S+:\d+-\d+\]", part)]
    return shape(paragraph)


def test_the_commands_of_the_first_screen_do_what_is_shown(shell: Shell) -> None:
    with shell.serving(RUN, "The gateway is at") as output:
        assert shown_answer(RUN) in shape(output.read_text())
        asked = shell.run(ASK)
        assert asked.returncode == 0, asked.stderr
        assert shown_answer(ASK) in shape(asked.stdout)
        agents = shell.run("make agents")
        assert re.findall(r"(?m)^(\w+) +(?:agent|tool) ", agents.stdout) == [
            "calculator",
            "knowledge",
            "researcher",
            "reviewer",
            "writer",
        ]
        doctor = shell.run("make doctor")
        assert doctor.returncode == 0, doctor.stdout
        assert "ok       recorder: ready at" in doctor.stdout
        assert json.loads(shell.run(ASK_JSON).stdout)["status"] == "completed"
        assert shell.run("make down").returncode == 0
    assert processes_of(shell.folder) == []


@pytest.mark.promise("ARG-01")
@pytest.mark.parametrize("broker", ["redis", "mqtt"])
def test_the_system_runs_by_hand(shell: Shell, broker: str) -> None:
    before = shell.code()
    run_file = shell.folder / "dapr.yaml"
    lines, active = run_file.read_text(), "- ./components/pubsub/redis"
    assert lines.count(active) == 1
    run_file.write_text(lines.replace(active, f"- ./components/pubsub/{broker}"))
    runtime = get_runtime(Progress())
    shell.env["PATH"] = f"{runtime.dapr.parent}{os.pathsep}{shell.env['PATH']}"
    shell.env["DAPR_RUNTIME_PATH"] = str(runtime.home)
    with shell.serving(SERVERS, "Servers are up"), shell.serving(BY_HAND, 'app id "recorder"') as output:
        last: list[subprocess.CompletedProcess[str]] = []

        def answered() -> bool:
            last[:] = [shell.run(ASK_BY_HAND)]
            return last[0].returncode == 0

        # The apps start by themselves here, each importing what it needs.
        wait_until(answered, "an answer", 300)
        assert "1024" in last[0].stdout, output.read_text()
    assert shell.code() == before


@pytest.mark.promise("ARG-01", "MQT-06")
def test_make_run_takes_another_broker(shell: Shell) -> None:
    before = shell.code()
    done = shell.run("make run BROKER=mqtt ONCE=1")
    assert done.returncode == 0, done.stderr
    assert shown_answer(RUN) in shape(done.stdout)
    assert "mosquitto" in done.stdout + done.stderr
    assert shell.code() == before


def test_the_examples_of_a_tool_and_an_agent_are_apps(tmp_path: Path) -> None:
    tool, agent = (
        load(text, f"example{number}", tmp_path) for number, text in enumerate(blocks("python", README)[:2])
    )
    assert tool.temperature("roof") == 12.5
    assert isinstance(tool.app, FastAPI)
    assert isinstance(agent.app, FastAPI)
    assert agent.agent.name == "critic"


def test_the_example_of_a_row_fits_the_run_file_and_takes_nobodys_ports() -> None:
    [row] = [
        App.model_validate(rows[0])
        for rows in map(yaml.safe_load, blocks("yaml", README))
        if isinstance(rows, list)
    ]
    apps = load_run_file(CHECKOUT / "dapr.yaml").apps
    taken = {port for app in apps for port in app.ports}
    assert taken.isdisjoint(row.ports)
    assert row.command[:-1] == apps[0].command[:-1]


def test_the_table_of_services_is_what_runs() -> None:
    header, *rows = re.findall(r"^\| (\w+) \| \w+ \|", README, re.MULTILINE)
    assert header == "service"
    assert sorted(rows) == sorted(app.app_id for app in load_run_file(CHECKOUT / "dapr.yaml").apps)


def test_the_topics_of_the_table_are_those_that_are_subscribed_to() -> None:
    rows = re.findall(r"^\| (\w+) \| (\w+) \| ([^|]*) \|", README, re.MULTILINE)
    listened = {name: set(re.findall(r"`([^`]+)`", topics)) for name, kind, topics in rows if kind != "kind"}
    for app in load_run_file(CHECKOUT / "dapr.yaml").apps:
        source = importlib.import_module(app.command[-1])
        [found] = {id(one): one for one in _apps_in(source)}.values()
        assert listened[app.app_id] == {one.topic for one in found.subscriptions}, app.app_id


def _apps_in(module: Any) -> list[Any]:
    found = []
    for value in vars(module).values():
        if isinstance(value, Service):
            found.append(value)
        elif isinstance(value, Agent | Orchestrator | Tools):
            found.append(value._app)
    return found


def test_every_place_that_is_named_is_there() -> None:
    places = re.findall(
        r"^([\w./]+) {2,}\S", blocks("text", README.partition("## Where things are")[2])[0], re.MULTILINE
    )
    assert len(places) > 5
    for place in [*places, *re.findall(r"\]\(([^):#]+)\)", README)]:
        assert (CHECKOUT / place).exists(), f"README.md names {place}"
