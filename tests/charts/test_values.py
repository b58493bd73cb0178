"""Values: what is refused, and what the others make of the objects."""

import pytest

from tests.charts.rendering import BROKERS, of_kind, pods, refusal, rendered, values

WRONG = {
    "broker.name=nats": "/broker/name",
    "broker.nmae=redis": "nmae",
    "image.tag=latest": "/image/tag",
    "image.registry=ghcr.io": "/image/registry",
    "image.pullPolicy=Sometimes": "/image/pullPolicy",
    "model.provider=mistral": "/model/provider",
    "broker.password=p@ss": "/broker/password",
    "broker.storage=1GB": "/broker/storage",
    "dapr.tracing.samplingRate=often": "/dapr/tracing/samplingRate",
    "defaults.replicas=-1": "/defaults/replicas",
    "defaults.resources.limits.cpu=one": "/defaults/resources/limits/cpu",
    "services.gateway.replica=3": "replica",
    "services.writer.callers.gateway.tools={STEAL}": "/services/writer/callers/gateway/tools",
    "services.Gateway.replicas=1": "Gateway",
    "servers.redis.image=redis:latest": "/servers/redis/image",
    "autoscaling.by=luck": "/autoscaling/by",
    "stopping.block=soon": "/stopping/block",
    "networkPolicy.ports.kafka={99999}": "/networkPolicy/ports/kafka",
    "httpEndpoints.model.baseUrl=ftp://x": "/httpEndpoints/model",
    "tokens.enabled=perhaps": "/tokens/enabled",
    "colour=red": "colour",
}
TOGETHER = {
    "broker.name=servicebus": "broker.internal: no server of servicebus can be started here",
    "broker.name=kafka-tls": "broker.internal: no server of kafka-tls can be started here",
    "broker.internal=false": "broker.existingSecret: name a Secret",
    "state.internal=false": "state.existingSecret: name a Secret",
    "model.provider=openai": "model.existingSecret: name a Secret",
    "broker.existingSecret=mine": 'broker.existingSecret: "mine" would not be used',
    "stopping.block=15": "stopping.block: 15 must be more than delay and drain together",
    "state.name=in-memory,services.writer.replicas=2": "services.writer.replicas: with state.name in-memory",
    "state.name=in-memory,defaults.replicas=2": "replicas: with state.name in-memory replicas share no state",
    "state.name=in-memory,autoscaling.enabled=true": "autoscaling.enabled: with state.name in-memory",
    "services.writer.callers.nobody.tools={GET}": "services.writer.callers: there is no app nobody",
}


@pytest.mark.parametrize("value", WRONG)
def test_a_wrong_value_is_refused_by_name(value: str) -> None:
    said = refusal("--set", value)
    assert "values don't meet the specifications of the schema" in said
    assert WRONG[value] in said.replace("'", "").replace(".", "/") or WRONG[value] in said


@pytest.mark.parametrize("value", TOGETHER)
def test_values_that_do_not_go_together_are_refused_by_name(value: str) -> None:
    assert TOGETHER[value] in refusal("--set", value)


def test_keda_must_be_told_where_kafka_is() -> None:
    outside = "broker.name=kafka,broker.internal=false,broker.existingSecret=mine"
    said = refusal("--set", outside, "--set", "autoscaling.enabled=true,autoscaling.by=keda")
    assert "autoscaling.kafkaBrokers: KEDA takes the addresses of Kafka from here only" in said


def test_a_new_service_is_one_line() -> None:
    objects = rendered("--set", "services.critic.replicas=3")
    assert of_kind(objects, "Deployment")["critic"]["spec"]["replicas"] == 3
    assert "critic" in of_kind(objects, "Component")["pubsub"]["scopes"]
    assert "critic" in of_kind(objects, "Configuration")
    assert "critic" in of_kind(objects, "PodDisruptionBudget")


def test_a_value_of_false_or_none_takes_the_place_of_a_default() -> None:
    deployment = of_kind(rendered("--set", "services.writer.replicas=0,defaults.replicas=2"), "Deployment")[
        "writer"
    ]
    assert deployment["spec"]["replicas"] == 0


def test_a_pod_has_time_to_end() -> None:
    for name, pod in pods(rendered()).items():
        annotations = pod["metadata"].get("annotations", {})
        if "dapr.io/enabled" in annotations:
            block = int(annotations["dapr.io/block-shutdown-duration"].removesuffix("s"))
            graceful = int(annotations["dapr.io/graceful-shutdown-seconds"])
            (app, *_) = pod["spec"]["containers"]
            env = {row["name"]: row.get("value") for row in app["env"]}
            delay, drain = int(env["DOVECOTE_STOP_DELAY"]), int(env["DOVECOTE_STOP_TIMEOUT"])
            assert delay + drain < block, name
            assert block + graceful < pod["spec"]["terminationGracePeriodSeconds"], name


@pytest.mark.parametrize("broker", BROKERS)
def test_zeromq_alone_has_a_container_for_its_component(broker: str) -> None:
    for pod in pods(rendered(*values(broker))).values():
        annotations = pod["metadata"].get("annotations", {})
        if "dapr.io/enabled" in annotations:
            names = [container["name"] for container in pod["spec"].get("initContainers", [])]
            assert names == ["zeromq-pubsub"] * (broker == "zeromq")
            assert ("dapr.io/volume-mounts-rw" in annotations) == (broker == "zeromq")


def test_replicas_on_mqtt_are_clients_of_their_own() -> None:
    for row in of_kind(rendered(*values("mqtt")), "Component").values():
        if row["spec"]["type"] == "pubsub.mqtt3":
            assert {"name": "consumerID", "value": "{uuid}"} in row["spec"]["metadata"]


SCALED = (
    *("--set", "autoscaling.enabled=true,services.writer.autoscale.minReplicas=1"),
    *("--set", "services.writer.autoscale.maxReplicas=4,services.writer.autoscale.cpu=70"),
    *("--set", "services.writer.autoscale.topic=agents/writer/inbox"),
)
SCALERS = {
    "redis": ("redis-streams", "stream", "agents.writer.inbox"),
    "kafka": ("kafka", "topic", "agents.writer.inbox"),
    "rabbitmq": ("rabbitmq", "queueName", "writer-agents.writer.inbox"),
    "servicebus": ("azure-servicebus", "subscriptionName", "writer"),
}


@pytest.mark.parametrize("broker", BROKERS)
def test_keda_counts_what_waits_where_it_knows_the_broker(broker: str) -> None:
    objects = rendered(*values(broker), *SCALED, "--set", "autoscaling.by=keda")
    cpu, *waiting = of_kind(objects, "ScaledObject")["writer"]["spec"]["triggers"]
    assert cpu["type"] == "cpu"
    if broker in SCALERS:
        kind, key, value = SCALERS[broker]
        assert [(row["type"], row["metadata"][key]) for row in waiting] == [(kind, value)]
        secrets = of_kind(objects, "TriggerAuthentication")["dovecote-broker"]["spec"]["secretTargetRef"]
        read = {
            setting["secretKeyRef"]["key"]
            for setting in of_kind(objects, "Component")["pubsub"]["spec"]["metadata"]
            if "secretKeyRef" in setting
        }
        assert {row["key"] for row in secrets} <= read
    else:
        assert waiting == []
        assert of_kind(objects, "TriggerAuthentication") == {}


def test_what_is_scaled_by_load_has_no_number_of_its_own() -> None:
    objects = rendered(*SCALED)
    assert "replicas" not in of_kind(objects, "Deployment")["writer"]["spec"]
    assert of_kind(objects, "HorizontalPodAutoscaler")["writer"]["spec"]["maxReplicas"] == 4


def test_tokens_reach_app_and_sidecar() -> None:
    pod = of_kind(rendered("--set", "tokens.enabled=true"), "Deployment")["writer"]["spec"]["template"]
    assert pod["metadata"]["annotations"]["dapr.io/api-token-secret"] == "dovecote-api-token"
    assert pod["metadata"]["annotations"]["dapr.io/app-token-secret"] == "dovecote-app-token"
    told = {
        row["name"]: row["valueFrom"]["secretKeyRef"]
        for row in pod["spec"]["containers"][0]["env"]
        if "valueFrom" in row
    }
    assert told == {
        "DAPR_API_TOKEN": {"name": "dovecote-api-token", "key": "token"},
        "APP_API_TOKEN": {"name": "dovecote-app-token", "key": "token"},
    }
