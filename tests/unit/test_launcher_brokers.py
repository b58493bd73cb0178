"""Brokers of the launcher: which one is needed, where it comes from, what is said when it cannot be had."""

import asyncio
import hashlib
import os
import socket
import stat
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local.brokers import debian, kafka_jars, order
from deploy.local.brokers.kafka import answers
from deploy.local.brokers.server import find_program
from deploy.local.components import load_components
from deploy.local.errors import MissingServerError, RunFileError, UnreachableError
from deploy.local.progress import Progress
from tests.support.watched_output import WatchedOutput

PUBSUB = Path(__file__).resolve().parents[2] / "components" / "pubsub"


@pytest.fixture
def progress() -> Progress:
    return Progress(WatchedOutput().console())


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the whole PATH."""
    folder = tmp_path / "commands"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("deploy.local.brokers.server._SYSTEM_FOLDERS", ())
    return folder


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "policy-rc.d"
    monkeypatch.setattr(debian, "_POLICY", path)
    return path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("folder", "variables"),
    [
        ("redis", []),
        ("mqtt", ["MQTT_URL"]),
        ("rabbitmq", ["RABBITMQ_URL"]),
        ("kafka", ["KAFKA_BROKERS"]),
        ("zeromq", ["ZEROMQ_HOST"]),
        ("servicebus", ["SERVICEBUS_CONNECTION_STRING"]),
    ],
)
def test_a_broker_is_known_by_the_address_that_its_component_reads(folder: str, variables: list[str]) -> None:
    assert list(order.addresses(load_components([PUBSUB / folder]))) == variables


def test_what_is_said_of_a_server_whose_address_is_not_is_known_to_be_in_vain() -> None:
    component = load_components([PUBSUB / "kafka"])[0]
    assert order.unused("KAFKA_BROKERS", component, {"KAFKA_USERNAME": "me", "HOME": "here"}) == ["KAFKA_USERNAME"]


def test_a_file_edited_to_another_broker_needs_that_ones_server(tmp_path: Path) -> None:
    (tmp_path / "pubsub.yaml").write_text((PUBSUB / "kafka" / "pubsub.yaml").read_text())
    assert list(order.addresses(load_components([PUBSUB / "redis", tmp_path]))) == ["KAFKA_BROKERS"]


def test_a_component_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "pubsub.yaml").write_text("spec: [")
    with pytest.raises(RunFileError, match=r"pubsub\.yaml is not YAML"):
        load_components([tmp_path])


def test_a_component_without_a_type_is_named(tmp_path: Path) -> None:
    (tmp_path / "pubsub.yaml").write_text("kind: Component\nmetadata: {name: pubsub}\nspec: {}")
    with pytest.raises(RunFileError, match=r"pubsub\.yaml is no Dapr component: it lacks 'type'"):
        load_components([tmp_path])


@pytest.mark.parametrize(
    "form",
    [
        "mqtt://me:p%40ss@{}",
        "amqp://{}/vhost",
        "{}",
        "{},{}",
        "Endpoint=sb://{}/;SharedAccessKeyName=me;SharedAccessKey=a/b=",
        "SharedAccessKeyName=me;SharedAccessKey=a/b=;Endpoint=sb://{}",
    ],
)
def test_an_address_in_any_form_is_asked_whether_it_answers(form: str, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    place = f"127.0.0.1:{port}"
    asyncio.run(order.require_reachable("MQTT_URL", {"MQTT_URL": form.format(place, place)}))
    with pytest.raises(UnreachableError, match=r"MQTT_URL names '127\.0\.0\.1:1', where nothing answers"):
        asyncio.run(order.require_reachable("MQTT_URL", {"MQTT_URL": form.replace("{}", "127.0.0.1:1")}))


def test_a_zeromq_broker_of_somebody_else_is_asked_at_the_usual_port_unless_told() -> None:
    env = {**order.defaults("ZEROMQ_HOST"), "ZEROMQ_HOST": "127.0.0.1", "ZEROMQ_PORT": "1"}
    assert env["ZEROMQ_BACKEND_PORT"] == "5556"
    with pytest.raises(UnreachableError, match=r"ZEROMQ_HOST names '127\.0\.0\.1:1'"):
        asyncio.run(order.require_reachable("ZEROMQ_HOST", env))


def test_a_zeromq_broker_holds_as_much_as_the_component_file_says(tmp_path: Path, progress: Progress) -> None:
    component = replace(
        load_components([PUBSUB / "zeromq"])[0], settings={"high_water_mark": "7", "connect_timeout": "1"}
    )
    server = order.own_server("ZEROMQ_HOST", component, tmp_path, ports=[1, 2], env={}, progress=progress)
    words = server.program.command[server.program.command.index("broker") + 1 :]
    assert words[0] == "high_water_mark=7"
    assert {name.lower(): value for name, value in server.variables.items()} == {
        "zeromq_host": "127.0.0.1",
        **{f"zeromq_{name}": port for name, _, port in (word.partition("=") for word in words[2:])},
    }


def test_an_address_without_a_port_is_refused() -> None:
    with pytest.raises(UnreachableError, match="KAFKA_BROKERS has 'kafka': it must name host:port"):
        asyncio.run(order.require_reachable("KAFKA_BROKERS", {"KAFKA_BROKERS": "kafka"}))


def test_a_service_that_cannot_run_here_is_asked_for_at_once(tmp_path: Path, progress: Progress) -> None:
    component = load_components([PUBSUB / "servicebus"])[0]
    with pytest.raises(
        MissingServerError, match=r"SERVICEBUS_CONNECTION_STRING is not set, and no server .* set it"
    ):
        order.own_server("SERVICEBUS_CONNECTION_STRING", component, tmp_path, ports=[1], env={}, progress=progress)


def test_a_namespace_in_azure_is_asked_at_the_port_of_amqps(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def answers_everywhere(address: str) -> bool:
        asked.append(address)
        return True

    monkeypatch.setattr("deploy.local.servers.listens", answers_everywhere)
    variable = "SERVICEBUS_CONNECTION_STRING"
    address = "Endpoint=sb://doves.servicebus.windows.net/;SharedAccessKeyName=me;SharedAccessKey=secret"
    asyncio.run(order.require_reachable(variable, {variable: address}))
    assert asked == ["doves.servicebus.windows.net:5671"]
    assert order.defaults(variable) == {"SERVICEBUS_DISABLE_ENTITY_MANAGEMENT": "false"}


def test_a_program_that_is_there_is_not_installed(commands: Path, progress: Progress) -> None:
    script(commands / "apt-get", "exit 1")
    found = script(commands / "mosquitto", "exit 0")
    assert find_program("mosquitto", ["mosquitto"], "", progress) == found


def test_a_program_that_is_missing_is_named_with_the_mend(commands: Path, progress: Progress) -> None:
    with pytest.raises(MissingServerError, match="mosquitto is not on this machine: brew install it"):
        find_program("mosquitto", ["mosquitto"], "brew install it", progress)


def test_root_gets_a_missing_program_installed(
    commands: Path, policy: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    installed = commands / "mosquitto"
    script(
        commands / "apt-get", f'echo "$@" > {commands}/said; echo "#!" > {installed}; /bin/chmod 755 {installed}'
    )
    assert find_program("mosquitto", ["mosquitto", "more"], "", progress) == installed
    assert (commands / "said").read_text().endswith("mosquitto more\n")


def test_what_apt_says_last_is_told_after_a_second_try_with_fresh_lists(
    commands: Path, policy: Path, progress: Progress
) -> None:
    script(commands / "apt-get", f'echo "$1" >> {commands}/said; echo "E: Unable to locate package"; exit 100')
    with pytest.raises(MissingServerError, match=r"(?s)cannot install mosquitto:.*Unable to locate"):
        debian.install(["mosquitto"], progress)
    assert (commands / "said").read_text().split() == ["install", "update", "install"]


def test_services_are_not_started_by_an_installation_and_are_afterwards(
    commands: Path, policy: Path, progress: Progress
) -> None:
    script(commands / "apt-get", f"{policy} mosquitto start; echo $? > {commands}/verdict")
    debian.install(["mosquitto"], progress)
    assert (commands / "verdict").read_text() == "101\n"
    assert not policy.exists()


def test_a_policy_of_the_machine_is_left_alone(commands: Path, policy: Path, progress: Progress) -> None:
    script(policy, "exit 7")
    script(commands / "apt-get", "exit 0")
    debian.install(["mosquitto"], progress)
    assert policy.read_text() == "#!/bin/sh\nexit 7\n"
    assert policy.stat().st_mode & stat.S_IXUSR


def test_an_altered_missing_or_strange_jar_is_named(tmp_path: Path) -> None:
    wanted = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("a.jar", "b.jar")}
    for name in wanted:
        (tmp_path / name).write_text(name)
    assert kafka_jars.differing(tmp_path, wanted) is None
    (tmp_path / "c.jar").touch()
    assert kafka_jars.differing(tmp_path, wanted) == "c.jar"
    (tmp_path / "b.jar").write_text("altered")
    assert kafka_jars.differing(tmp_path, wanted) == "b.jar"
    (tmp_path / "a.jar").unlink()
    assert kafka_jars.differing(tmp_path, wanted) == "a.jar"


def test_jars_that_maven_got_altered_are_refused(
    commands: Path, tmp_path: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    script(
        commands / "mvn",
        'for word in "$@"; do case $word in -DoutputDirectory=*) to=${word#*=};; esac; done\n'
        '/bin/mkdir -p "$to" && echo altered > "$to/kafka_2.13-4.1.1.jar"',
    )
    with pytest.raises(MissingServerError, match=r"is not the jar that kafka-jars\.txt names"):
        kafka_jars.find_jars(progress)
    assert not list(tmp_path.glob("dovecote/kafka/*/"))[1:]


def test_a_java_that_is_too_old_is_named(commands: Path, progress: Progress) -> None:
    script(commands / "java", """echo 'openjdk version "11.0.2" 2019' >&2""")
    with pytest.raises(MissingServerError, match=r"(?s)11\.0\.2.*install Java 17"):
        kafka_jars.find_java(progress)
    script(commands / "java", """echo 'openjdk version "21" 2023' >&2""")
    assert kafka_jars.find_java(progress) == commands / "java"


def test_kafka_answers_once_it_takes_requests_and_not_when_it_only_listens(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.settimeout(10)

    def take() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            size, key = struct.unpack(">ih", connection.recv(6))
            if (size, key) == (10, 18):
                connection.sendall(b"\0\0\0\6\0\0\0\1\0\0")

    taking = threading.Thread(target=take, daemon=True)
    taking.start()
    assert asyncio.run(answers(port))
    taking.join(10)
    assert not taking.is_alive()
    listener.close()
    assert not asyncio.run(answers(port))
