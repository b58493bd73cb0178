"""Who may call whom, over Dapr and over the network."""

from typing import Any

import pytest

from tests.charts.rendering import APPS, BROKERS, NAMESPACE, Object, of_kind, pods, rendered, values

# caller, callee, verb, path: what the code does.
CALLS = [
    ("gateway", "orchestrator", "POST", "tasks"),
    ("gateway", "orchestrator", "GET", "tasks/1"),
    ("gateway", "recorder", "GET", "tasks/1/events"),
    ("gateway", "directory", "GET", "presence"),
    ("orchestrator", "directory", "GET", "registrations"),
    ("orchestrator", "knowledge", "POST", "tools/index"),
    ("researcher", "knowledge", "POST", "tools/search"),
    ("researcher", "calculator", "POST", "tools/evaluate"),
    ("researcher", "gateway", "POST", "tools/anything"),
    ("writer", "directory", "POST", "registrations"),
    ("reviewer", "directory", "DELETE", "registrations/reviewer/1"),
    ("calculator", "directory", "POST", "registrations"),
    ("writer", "recorder", "GET", "values/agent/status"),
    ("gateway", "recorder", "GET", "deadletters/1"),
    ("gateway", "recorder", "POST", "deadletters/resubmit"),
    *((("recorder", app, "POST", "resubmissions")) for app in APPS),
]
REFUSED = [
    ("researcher", "orchestrator", "POST", "tasks"),
    ("writer", "knowledge", "POST", "tools/search"),
    ("recorder", "gateway", "POST", "tasks"),
    ("researcher", "gateway", "POST", "tasks"),
    ("gateway", "orchestrator", "DELETE", "tasks/1"),
    ("gateway", "knowledge", "GET", "tap"),
    ("gateway", "researcher", "GET", "healthz"),
    ("writer", "recorder", "GET", "deadletters/1"),
    ("writer", "reviewer", "POST", "resubmissions"),
    ("gateway", "researcher", "POST", "resubmissions"),
    ("researcher", "gateway", "GET", "v1/dead-letters"),
    ("stranger", "directory", "GET", "presence"),
]


def allowed(caller: str, callee: str, verb: str, path: str) -> bool:
    """Whether a callee's Configuration lets a call in, as daprd reads it where names end with /**."""
    control = of_kind(rendered(), "Configuration")[callee]["spec"]["accessControl"]
    assert control["defaultAction"] == "deny"
    for policy in control.get("policies", []):
        assert policy["defaultAction"] == "deny"
        assert policy["namespace"] == NAMESPACE
        if policy["appId"] == caller:
            operations = [
                row for row in policy["operations"] if f"/{path}/".startswith(row["name"].removesuffix("**"))
            ]
            return any(verb in row["httpVerb"] and row["action"] == "allow" for row in operations)
    return False


@pytest.mark.parametrize(("caller", "callee", "verb", "path"), CALLS)
def test_what_the_services_call_is_let_in(caller: str, callee: str, verb: str, path: str) -> None:
    assert allowed(caller, callee, verb, path)


@pytest.mark.parametrize(("caller", "callee", "verb", "path"), REFUSED)
def test_what_no_service_calls_is_refused(caller: str, callee: str, verb: str, path: str) -> None:
    assert not allowed(caller, callee, verb, path)


def test_each_app_has_its_own_configuration() -> None:
    objects = rendered()
    assert sorted(of_kind(objects, "Configuration")) == APPS
    for name, pod in pods(objects).items():
        annotations = pod["metadata"].get("annotations", {})
        if "dapr.io/enabled" in annotations:
            assert (
                annotations["dapr.io/config"] == annotations["dapr.io/app-id"] == name.removeprefix("Deployment/")
            )


def test_no_app_may_start_anothers_workflow() -> None:
    policy = of_kind(rendered(), "WorkflowAccessPolicy")["dovecote"]
    assert policy["spec"] == {}
    assert policy["scopes"] == APPS


# --- the network ------------------------------------------------------------------------------------------------


class Network:
    """Whether a connection between two pods of the set passes the policies, as Kubernetes reads them."""

    def __init__(self, objects: tuple[Object, ...]) -> None:
        self._policies = [row["spec"] for row in objects if row["kind"] == "NetworkPolicy"]
        self._labels = {name.partition("/")[2]: pod["metadata"]["labels"] for name, pod in pods(objects).items()}

    def passes(self, source: str, target: str, port: int) -> bool:
        return self._passes(source, target, port, "Egress") and self._passes(target, source, port, "Ingress")

    def leaves(self, source: str, port: int) -> bool:
        """Whether a pod may connect to a port of anybody outside."""
        return self._passes(source, None, port, "Egress")

    def enters(self, target: str, port: int) -> bool:
        """Whether anybody outside may connect to a port of a pod."""
        return self._passes(target, None, port, "Ingress")

    def _passes(self, pod: str, other: str | None, port: int, direction: str) -> bool:
        mine = [
            row
            for row in self._policies
            if direction in row["policyTypes"] and self._selects(row["podSelector"], pod)
        ]
        peers = "to" if direction == "Egress" else "from"
        rules = [rule for row in mine for rule in row.get(direction.lower(), [])]
        return not mine or any(
            any(row["port"] == port for row in rule["ports"])
            and (peers not in rule or any(self._is(peer, other) for peer in rule[peers]))
            for rule in rules
        )

    def _is(self, peer: dict[str, Any], pod: str | None) -> bool:
        return pod is not None and "podSelector" in peer and self._selects(peer["podSelector"], pod)

    def _selects(self, selector: dict[str, Any], pod: str) -> bool:
        return bool(selector["matchLabels"].items() <= self._labels[pod].items())


PORTS = {"redis": [6379], "mqtt": [1883], "kafka": [9092], "rabbitmq": [5672], "zeromq": [5555, 5556]}


@pytest.mark.parametrize("broker", sorted(PORTS))
def test_the_network_lets_through_what_the_set_needs_and_nothing_else(broker: str) -> None:
    network = Network(rendered(*values(broker), "--set", "networkPolicy.enabled=true"))
    everybody = [*APPS, "demo-model", "state", "broker", "question"]
    needed = {(a, b, 50002) for a in APPS for b in APPS}
    needed |= {(app, "broker", port) for app in APPS for port in PORTS[broker]}
    needed |= {(app, "state", 6379) for app in APPS} | {(app, "demo-model", 8080) for app in APPS}
    needed.add(("question", "gateway", 8080))
    ports = {8080, 50002, 6379, 3500, 9090, *PORTS[broker]}
    found = {(a, b, p) for a in everybody for b in everybody for p in ports if a != b and network.passes(a, b, p)}
    assert found == {row for row in needed if row[0] != row[1]}
    assert {port for port in range(1, 65536) if network.leaves("writer", port)} == {53}
    assert [name for name in everybody if any(network.enters(name, port) for port in ports)] == ["gateway"]


@pytest.mark.parametrize("broker", BROKERS)
def test_in_production_servers_outside_are_reached_by_their_ports(broker: str) -> None:
    network = Network(rendered(*values(broker, "production")))
    ports = {"redis": 6380, "mqtt": 8883, "kafka": 9093, "rabbitmq": 5671, "servicebus": 5671, "zeromq": 5555}
    assert network.leaves("recorder", ports[broker])
    assert network.leaves("recorder", 443)
    assert not network.leaves("recorder", 80)


@pytest.mark.parametrize(("store", "reached"), [("redis", {53, 6379, 6380}), ("sqlserver", {53, 1433})])
def test_a_state_store_outside_is_reached_by_its_ports_alone(store: str, reached: set[int]) -> None:
    outside = f"state.name={store},state.internal=false,state.existingSecret=mine"
    network = Network(rendered("--set", outside, "--set", "networkPolicy.enabled=true"))
    assert {port for port in range(1, 65536) if network.leaves("recorder", port)} == reached
