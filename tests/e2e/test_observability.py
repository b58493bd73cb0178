"""What can be seen of a system from outside: the measures that the dashboard shows, and the trace of a question."""

import json
import re
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
import yaml

from tests.support.checkout import changeable_checkout
from tests.support.otlp import Span, SpanReceiver
from tests.support.waiting import wait_until
from tests.support.whole import CHECKOUT, Whole, whole

pytestmark = pytest.mark.timeout(600)
FOLDER = CHECKOUT / "deploy" / "observability"
QUESTION = "What is a dead letter, and what is 6 * 7?"
CLIENT = "00f067aa0ba902b7"  # the span of who asks
METRICS = 3  # the port of a sidecar's measures, after that of its API
METRIC = re.compile(r"\b((?:dapr|process)_\w+)\{([^}]*)\}")
TRIED_AGAIN = "dapr_resiliency_activations_total"
ADDED = frozenset({"instance"})  # by Prometheus


@pytest.fixture(scope="module")
def receiver() -> Iterator[SpanReceiver]:
    with SpanReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, receiver: SpanReceiver) -> Iterator[Whole]:
    """The system, with each request traced."""
    home = tmp_path_factory.mktemp("home")
    checkout = changeable_checkout(home / "checkout")
    file = checkout / "components" / "shared" / "configuration.yaml"
    configuration = yaml.safe_load(file.read_text())
    otel = {"endpointAddress": receiver.address, "protocol": "http", "isSecure": False}
    configuration["spec"]["tracing"] = {"samplingRate": "1", "otel": otel}
    file.write_text(yaml.safe_dump(configuration))
    with whole(home, {}, checkout=checkout) as system:
        yield system


def test_one_question_is_one_trace_through_every_service(traced: Whole, receiver: SpanReceiver) -> None:
    trace = uuid.uuid4().hex
    headers = {"traceparent": f"00-{trace}-{CLIENT}-01"}
    asked = httpx.post(f"{traced.system.url()}/tasks", json={"question": QUESTION}, headers=headers)
    assert traced.result(asked.json()["task_id"])["status"] == "completed"

    def spans() -> list[Span]:
        return [span for span in receiver.spans if span.trace == trace]

    def told() -> set[tuple[str, str]]:
        return {(span.service, span.name) for span in spans()}

    expected = {
        ("gateway", "CallLocal/orchestrator/tasks"),
        ("orchestrator", "orchestration||plan"),
        ("orchestrator", "activity||finish"),
        ("orchestrator", "pubsub/agents.orchestrator.inbox"),
        ("researcher", "pubsub/agents.researcher.inbox"),
        ("researcher", "orchestration||agent"),
        ("researcher", "activity||round"),
        ("researcher", "/dapr.proto.runtime.v1.Dapr/ConverseAlpha2"),
        ("knowledge", "CallLocal/knowledge/tools/search"),
        ("calculator", "CallLocal/calculator/tools/evaluate"),
        ("writer", "activity||round"),
        ("reviewer", "activity||round"),
        ("directory", "CallLocal/directory/registrations"),
        ("recorder", "pubsub/tasks.events"),
    }
    wait_until(lambda: expected <= told(), "spans of every service", 30)

    def orphans() -> set[str]:
        return {span.parent for span in spans()} - {span.id for span in spans()} - {CLIENT}

    wait_until(lambda: not orphans(), "the parent of each span", 30)


def test_each_measure_of_the_dashboard_is_one_that_sidecars_make(traced: Whole) -> None:
    assert traced.ask(QUESTION)["status"] == "completed"
    _cause_trouble(traced)
    panels = json.loads((FOLDER / "grafana" / "dashboards" / "dovecote.json").read_text())["panels"]
    shown = [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]
    assert len(shown) > 10

    def missing() -> list[str]:
        made = _measures(traced, traced.system.apps)
        return [
            f"{title}: {name} with {sorted(labels)}"
            for title, expression in shown
            for name, labels in _used(expression)
            if not any(labels <= one for one in made[name])
        ]

    wait_until(lambda: not missing(), f"measures, at first {missing()}", 30)


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.y*ml")), ids=lambda path: path.name)
def test_what_others_read_is_yaml(path: Path) -> None:
    assert yaml.safe_load(path.read_text())


def _cause_trouble(traced: Whole) -> None:
    """Let a call be tried again, and a message be given up."""
    sidecar = f"{traced.system.sidecar_url('gateway')}/v1.0"
    body = {"arguments": {"account": "none"}}

    def tried_again() -> bool:
        traced.system.kill("ledger-daprd")  # which may be back before the call comes
        httpx.post(f"{sidecar}/invoke/ledger/method/tools/balance", json=body, timeout=30)
        return bool(_measures(traced, ["gateway"])[TRIED_AGAIN])

    wait_until(tried_again, "a call that is tried again", 60)
    traced.system.wait_ready()
    assert httpx.post(f"{sidecar}/publish/pubsub/agents.researcher.inbox", json="", timeout=30).is_success


def _measures(traced: Whole, apps: Sequence[str]) -> defaultdict[str, list[set[str]]]:
    """The sets of labels of each measure that the sidecars of those apps have made by now."""
    made: defaultdict[str, list[set[str]]] = defaultdict(list)
    for app in apps:
        base, _, port = traced.system.sidecar_url(app).rpartition(":")
        for line in httpx.get(f"{base}:{int(port) + METRICS}/metrics").text.splitlines():
            name, _, rest = line.partition(" ")[0].partition("{")
            made[name].append(set(re.findall(r'(\w+)="', rest)))
    return made


def _used(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each measure of an expression of Prometheus, with the labels that are used of it."""
    grouped = {label for labels in re.findall(r"by \(([^)]*)\)", expression) for label in labels.split(", ")}
    for name, matchers in METRIC.findall(expression):
        yield name, grouped | set(re.findall(r'(\w+)(?:=~|!~|!=|=)"', matchers)) - ADDED
