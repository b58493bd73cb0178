"""The chart has no component of its own: it renders the files that every other way to run reads."""

from pathlib import Path

import pytest
import yaml

from tests.charts.rendering import APPS, BROKERS, CHART, Object, of_kind, pods, refusal, rendered, run, values
from tests.support.checkout import ROOT

TLS = [f"{broker}-tls" for broker in ("redis", "mqtt", "kafka", "rabbitmq")]
OUTSIDE = ("--set", "broker.internal=false,broker.existingSecret=mine")


def documents(path: str) -> list[Object]:
    """The documents of a file in components/."""
    return [*yaml.safe_load_all((ROOT / "components" / path).read_text(encoding="utf-8"))]


def expected(path: str, secret: str) -> dict[str, Object]:
    """The specs of a file's components with the names that the chart changes."""
    specs = {}
    for row in documents(path):
        for setting in row["spec"]["metadata"]:
            if "secretKeyRef" in setting:
                setting["secretKeyRef"]["name"] = secret
        specs[row["metadata"]["name"]] = row["spec"]
    return specs


def test_the_files_are_linked_and_not_copied() -> None:
    assert (CHART / "files" / "components").is_symlink()
    assert (CHART / "files" / "components").resolve() == ROOT / "components"
    assert (CHART / "files" / "brokers").resolve() == ROOT / "deploy" / "brokers"


def test_a_packaged_chart_has_what_it_links_to(tmp_path: Path) -> None:
    done = run("package", str(CHART), "--destination", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (package,) = tmp_path.iterdir()
    assert package.stat().st_size < 100_000  # a release is kept in a Secret, which takes a megabyte
    assert rendered("--set", "image.tag=v1", chart=package) == rendered("--set", "image.tag=v1")


@pytest.mark.parametrize("broker", [*BROKERS, *TLS])
def test_components_are_as_their_files_say_but_for_the_names_of_secrets(broker: str) -> None:
    arguments = ("--set", f"broker.name={broker}", *OUTSIDE)
    components = of_kind(rendered(*arguments), "Component")
    specs = expected(f"pubsub/{broker}/pubsub.yaml", "mine")
    specs |= expected("state/redis/statestore.yaml", "dovecote-state") | expected(
        "llm/demo/llm.yaml", "dovecote-model"
    )
    assert {name: row["spec"] for name, row in components.items()} == specs


@pytest.mark.parametrize("provider", sorted(path.name for path in (ROOT / "components" / "llm").iterdir()))
def test_each_model_is_its_file(provider: str) -> None:
    secret = () if provider in {"demo", "ollama"} else ("--set", "model.existingSecret=mine")
    components = of_kind(rendered("--set", f"model.provider={provider}", *secret), "Component")
    assert (
        components["llm"]["spec"]
        == expected(f"llm/{provider}/llm.yaml", "mine" if secret else "dovecote-model")["llm"]
    )


@pytest.mark.promise("ACS-09")
@pytest.mark.parametrize("store", sorted(path.name for path in (ROOT / "components" / "state").iterdir()))
def test_each_state_store_is_its_file(store: str) -> None:
    arguments = ("--set", f"state.name={store},state.internal=false,state.existingSecret=mine")
    objects = rendered(*arguments)
    components = of_kind(objects, "Component")
    found = {name: components[name]["spec"] for name in ("statestore", "claims")}
    assert found == expected(f"state/{store}/statestore.yaml", "mine")


def test_another_state_store_starts_every_pod_with_a_sidecar_again() -> None:
    said = [
        {name: pod["metadata"].get("annotations", {}).get("dovecote/state") for name, pod in pods(objects).items()}
        for objects in (rendered(), rendered("--set", "state.name=in-memory"))
    ]
    changed = {name for name in said[0] if said[0][name] != said[1][name]}
    assert changed == {f"Deployment/{app}" for app in APPS}


def test_a_server_of_azure_sql_is_not_started_by_the_chart() -> None:
    assert "no server of sqlserver can be started here" in refusal("--set", "state.name=sqlserver")


def test_a_setting_of_the_model_takes_the_place_of_the_files() -> None:
    settings = "model.settings.endpoint=http://ollama:11434/v1,model.settings.model=qwen3"
    components = of_kind(rendered("--set", f"model.provider=ollama,{settings}"), "Component")
    assert components["llm"]["spec"]["metadata"] == [
        {"name": "endpoint", "value": "http://ollama:11434/v1"},
        {"name": "model", "value": "qwen3"},
    ]


def test_every_object_of_dapr_is_for_the_apps_of_the_set_only_and_the_model_for_agents() -> None:
    scopes = {row["metadata"]["name"]: row["scopes"] for row in of_kind(rendered(), "Component").values()}
    agents = sorted(path.name for path in (ROOT / "services" / "agents").iterdir() if (path / "main.py").exists())
    assert scopes == dict.fromkeys(("pubsub", "urgent", "news", "statestore", "claims"), APPS) | {"llm": agents}
    for row in of_kind(rendered(), "Resiliency", "WorkflowAccessPolicy").values():
        assert row["scopes"] == APPS


def test_secrets_come_from_the_control_plane_and_no_store_is_configured() -> None:
    components = of_kind(rendered(), "Component")
    assert {row["auth"]["secretStore"] for row in components.values()} == {"kubernetes"}
    assert "secrets" not in components


@pytest.mark.parametrize("broker", [broker for broker in BROKERS if broker != "servicebus"])
def test_the_secret_of_an_internal_broker_has_what_its_components_read(broker: str) -> None:
    objects = rendered(*values(broker))
    secret = of_kind(objects, "Secret")["dovecote-broker"]
    read = {
        setting["secretKeyRef"]["key"]
        for row in documents(f"pubsub/{broker}/pubsub.yaml")
        for setting in row["spec"]["metadata"]
        if "secretKeyRef" in setting
    }
    assert read <= secret["stringData"].keys()
    assert secret["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_a_secret_given_inline_must_have_what_the_component_reads() -> None:
    given = "broker.name=kafka,broker.internal=false,broker.secret.KAFKA_BROKERS=kafka:9092"
    assert "broker.secret lacks KAFKA_USERNAME, which components/pubsub/kafka/pubsub.yaml reads" in refusal(
        "--set", given
    )
    whole = f"{given},broker.secret.KAFKA_USERNAME=me,broker.secret.KAFKA_PASSWORD=word"
    secret = of_kind(rendered("--set", whole), "Secret")["dovecote-broker"]
    assert secret["stringData"] == {"KAFKA_BROKERS": "kafka:9092", "KAFKA_USERNAME": "me", "KAFKA_PASSWORD": "word"}


def test_resiliency_is_its_file() -> None:
    resiliency = of_kind(rendered(), "Resiliency")["dovecote"]
    assert resiliency["spec"] == documents("shared/resiliency.yaml")[0]["spec"]


def test_the_configuration_is_its_file_without_the_laptops_names_of_hosts() -> None:
    base = documents("shared/configuration.yaml")[0]["spec"]
    for row in of_kind(rendered(), "Configuration").values():
        assert row["spec"]["metrics"] == base["metrics"]
        assert "nameResolution" not in row["spec"]


def test_a_server_gets_the_configuration_that_every_container_of_it_gets() -> None:
    configuration = of_kind(rendered(), "ConfigMap")["dovecote-servers"]["data"]
    folder = ROOT / "deploy" / "brokers"
    assert configuration == {path.name: path.read_text(encoding="utf-8") for path in _files(folder)}


def test_the_dashboard_is_its_file() -> None:
    data = of_kind(rendered("--set", "monitoring.dashboard.enabled=true"), "ConfigMap")["dovecote-dashboards"][
        "data"
    ]
    folder = ROOT / "deploy" / "observability" / "grafana" / "dashboards"
    assert data == {path.name: path.read_text(encoding="utf-8").rstrip("\n") for path in _files(folder)}
    assert data


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()]


def test_passwords_are_generated_where_none_is_given() -> None:
    secrets = of_kind(rendered("--set", "broker.password=,state.password="), "Secret")
    generated = [
        secrets["dovecote-broker"]["stringData"]["password"],
        secrets["dovecote-state"]["stringData"]["REDIS_PASSWORD"],
    ]
    assert all(len(password) == 24 for password in generated)
    assert generated[0] != generated[1]
    assert "given" not in generated
