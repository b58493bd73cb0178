"""What is started to move messages from one broker to another, and what is refused."""

import shutil
from pathlib import Path

import pytest
import yaml

from deploy.local.bridge import Move
from deploy.local.components import load_components
from deploy.local.errors import LauncherError, RunFileError

CHECKOUT = Path(__file__).resolve().parents[2]


def test_each_apps_bridge_has_the_old_broker_as_its_own_and_the_new_one_as_target(tmp_path: Path) -> None:
    apps = Move(CHECKOUT, tmp_path, "redis", "components/pubsub/kafka").apps()
    run_file = yaml.safe_load((CHECKOUT / "dapr.yaml").read_text())
    assert [app.app_id for app in apps] == [row["appID"] for row in run_file["apps"]]
    for app, row in zip(apps, run_file["apps"], strict=True):
        assert app.command == (*row["command"][:-1], "--bridge", row["command"][-1])
        components = load_components(Path(path) for path in app.resources_paths or ())
        assert {part.name: part.type for part in components if part.type.startswith("pubsub.")} == {
            part.name: part.type for part in load_components([CHECKOUT / "components" / "pubsub" / "redis"])
        } | {"target": "pubsub.kafka"}
        assert not [part for part in components if part.type.startswith("state.")]


def test_an_address_that_nobody_has_told_is_named(tmp_path: Path) -> None:
    move = Move(CHECKOUT, tmp_path, "redis", "kafka")
    with pytest.raises(LauncherError, match=r"where kafka is, is not known: set KAFKA_.*, or start .*BROKER=kafka"):
        move.require_addresses({"REDIS_HOST": "127.0.0.1:1", "REDIS_PASSWORD": ""})
    with pytest.raises(LauncherError, match="where redis is, is not known: set REDIS_HOST, or start"):
        move.require_addresses({})


def test_what_has_a_default_need_not_be_told(tmp_path: Path) -> None:
    Move(CHECKOUT, tmp_path, "zeromq", "servicebus").require_addresses(
        {"ZEROMQ_HOST": "10.0.0.1", "SERVICEBUS_CONNECTION_STRING": "Endpoint=sb://one"}
    )


def test_the_running_system_has_told_its_addresses(tmp_path: Path) -> None:
    (tmp_path / ".dovecote").mkdir()
    names = ("REDIS_HOST", "REDIS_PASSWORD", "KAFKA_BROKERS", "KAFKA_USERNAME", "KAFKA_PASSWORD")
    text = "".join(f"export {name}='a b=c'\n" for name in names)
    (tmp_path / ".dovecote" / "env").write_text(text)
    move = Move(CHECKOUT, tmp_path, "redis", "kafka")
    assert move.env() == dict.fromkeys(names, "a b=c")
    move.require_addresses(move.env())


def test_a_broker_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(RunFileError, match=r"there is no 'pigeon' in .*there are: .*kafka"):
        Move(CHECKOUT, tmp_path, "redis", "pigeon").apps()


def test_an_app_that_is_started_in_another_way_is_named(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(CHECKOUT / "components", checkout / "components")
    run_file = (CHECKOUT / "dapr.yaml").read_text().replace("dovecote.serve", "uvicorn", 1)
    (checkout / "dapr.yaml").write_text(run_file)
    with pytest.raises(RunFileError, match=r"app 'gateway' is not started with `python -m dovecote\.serve MODULE`"):
        Move(checkout, tmp_path, "redis", "kafka").apps()
