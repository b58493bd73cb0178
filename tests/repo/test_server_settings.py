"""A broker's server is told the same by the launcher and in containers, but for places, addresses and logins."""

import re
from pathlib import Path

import pytest

from deploy.local.brokers import kafka, mosquitto, rabbitmq, redis

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "brokers"
# Where it listens, where its files are, and who it is.
ELSEWHERE = {
    "redis.conf": {"bind", "{listen}", "port", "dir", "requirepass", "set-proc-title"},
    "mosquitto.conf": {"listener", "password_file", "persistence_location", "user"},
    "rabbitmq.conf": {"{listeners}", "listeners.tcp.1", "default_user", "default_pass"},
    "kafka.properties": {"controller.quorum.voters", "listeners", "log.dirs"},
}
# What only a container has: it is killed when it takes more memory than it may.
MORE = {"rabbitmq.conf": {"vm_memory_high_watermark.absolute"}}
PASSWORDS_ONLY = re.compile(r"listener\.name\..*jaas.*")


def settings(text: str, without: set[str]) -> dict[str, str]:
    lines = (line.strip() for line in text.splitlines())
    pairs = (re.split(r"\s*=\s*|\s+", line, maxsplit=1) for line in lines if line and not line.startswith("#"))
    return {
        name: rest[0] if rest else ""
        for name, *rest in pairs
        if name not in without and not PASSWORDS_ONLY.fullmatch(name)
    }


@pytest.mark.parametrize(
    ("file", "launchers"),
    [
        ("redis.conf", redis._CONFIGURATION),
        ("mosquitto.conf", mosquitto._CONFIGURATION),
        ("rabbitmq.conf", rabbitmq._CONFIGURATION),
        ("kafka.properties", kafka._CONFIGURATION + kafka._SASL),
    ],
)
def test_a_server_in_a_container_has_the_launchers_settings(file: str, launchers: str) -> None:
    found = settings((FOLDER / file).read_text(), ELSEWHERE[file] | MORE.get(file, set()))
    assert found == settings(launchers, ELSEWHERE[file])
    assert len(found) >= 3


def test_rabbitmq_has_the_launchers_arguments_in_containers() -> None:
    assert rabbitmq._ERLANG in (FOLDER / "start.sh").read_text()
