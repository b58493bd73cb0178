"""The whole system as tests run it: real sidecars, a scripted model, and one tool with an effect."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from deploy.local.brokers.server import Server
from deploy.local.runfile import App, load_run_file
from deploy.local.system import System
from tests.support.model_server import ModelServer

CHECKOUT = Path(__file__).resolve().parents[2]
_PORTS = dict.fromkeys(("port", "http_port", "grpc_port", "internal_grpc_port", "metrics_port"), 0)


class Whole:
    """A running system and its model, with what tests do over and over."""

    def __init__(self, system: System, model: ModelServer) -> None:
        self.system = system
        self.model = model
        self._client = httpx.Client(timeout=30, trust_env=False)

    def close(self) -> None:
        """Close the connections to the gateway."""
        self._client.close()

    def start(self, question: str, docs: Path | None = None) -> str:
        """Ask; returns the task's id."""
        body = {"question": question, **({"docs": str(docs)} if docs else {})}
        answer = self._client.post(f"{self.system.url()}/tasks", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["task_id"])

    def result(self, task_id: str, seconds: float = 60) -> dict[str, Any]:
        """The result of a task, however often its services are away meanwhile."""
        deadline = time.monotonic() + seconds
        last = ""
        while time.monotonic() < deadline:
            try:
                # The sidecar holds the request until there is news, so this loop does not spin.
                answer = self._client.get(f"{self.system.url()}/tasks/{task_id}")
                last = answer.text
                if answer.status_code == 200 and answer.json()["status"] != "running":
                    found: dict[str, Any] = answer.json()
                    return found
            except httpx.HTTPError as error:
                last = repr(error)
            time.sleep(0.05)
        raise AssertionError(f"task {task_id} has no result after {seconds:g} s: {last}")

    def ask(self, question: str, docs: Path | None = None, seconds: float = 60) -> dict[str, Any]:
        """Ask, and wait for the result."""
        return self.result(self.start(question, docs), seconds)

    def told(self, task_id: str) -> str:
        """What the recorder has of a task so far, as text."""
        return self._client.get(f"{self.system.url('recorder')}/tasks/{task_id}/events").text

    def balance(self, account: str) -> int:
        """What the ledger holds for an account."""
        body = {"arguments": {"account": account}}
        answer = self._client.post(f"{self.system.url('ledger')}/tools/balance", json=body)
        return int(answer.json()["result"])


def whole_apps(researcher: str = "tests.support.clerk") -> list[App]:
    """Every app of the run file, the ledger, and a researcher of the tests: by default one that uses the ledger."""
    apps = load_run_file(CHECKOUT / "dapr.yaml").select(None)
    apps = [_running(app, researcher) if app.app_id == "researcher" else app for app in apps]
    ledger = replica(apps[0]).model_copy(update={"app_id": "ledger"})
    return [*apps, _running(ledger, "tests.support.ledger")]


def replica(app: App) -> App:
    """The same app once more, on ports of its own."""
    return app.model_copy(update=_PORTS)


@contextmanager
def whole(  # noqa: PLR0913 - each is one plain choice of the caller
    home: Path,
    env: Mapping[str, str],
    broker: str | None = None,
    *,
    checkout: Path = CHECKOUT,
    brokers: Sequence[Server] = (),
    researcher: str = "tests.support.clerk",
) -> Iterator[Whole]:
    """A running system in a home of its own, ended afterwards.

    `broker` is a folder of `components/pubsub`, `brokers` are what `System` takes, `researcher` is a module.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (
        ModelServer() as model,
        System(
            checkout,
            home,
            apps=whole_apps(researcher),
            broker=broker,
            brokers=brokers,
            with_model=False,
            env={"DEMO_MODEL_URL": model.url, **env},
        ) as system,
        closing(Whole(system, model)) as running,
    ):
        yield running


def _running(app: App, module: str) -> App:
    return app.model_copy(update={"command": (*app.command[:-1], module)})
