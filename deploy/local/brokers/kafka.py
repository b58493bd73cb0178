"""Kafka, as one node that is broker and controller."""

from __future__ import annotations

import asyncio
import base64
import shlex
import struct
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from deploy.local.brokers.greeting import Greeting
from deploy.local.brokers.kafka_jars import find_jars, find_java
from deploy.local.brokers.server import USER, Broker, Server, Site
from deploy.local.ports import HOST
from deploy.local.progress import Progress
from deploy.local.readiness import check_probe
from deploy.local.servers import write_secret
from deploy.local.spawning import Program

_VARIABLE: Final = "KAFKA_BROKERS"
_MEMORY: Final = "-Xmx512m"
_STOP_SECONDS = 20.0
_ANSWER_SECONDS = 2.0
# An app handles one message of a partition at a time, so partitions are what it can do at once. A server that was
# killed is let in again only when the session of the killed one has ended.
_CONFIGURATION = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
controller.listener.names=CONTROLLER
listeners=CLIENT://{host}:{port},CONTROLLER://{host}:{controller}
inter.broker.listener.name=CLIENT
log.dirs={data}
num.partitions=16
auto.create.topics.enable=true
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
log.cleaner.dedupe.buffer.size=16777216
num.recovery.threads.per.data.dir=4
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=4000
"""
# With a password, or with a certificate, which the component does not take together.
_SASL = """\
listener.security.protocol.map=CLIENT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
sasl.mechanism.controller.protocol=PLAIN
listener.name.client.plain.sasl.jaas.config={login}
listener.name.controller.plain.sasl.jaas.config={login}
"""
_TLS = """\
listener.security.protocol.map=CLIENT:SSL,CONTROLLER:SSL
ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.key={key}
ssl.keystore.certificate.chain={certificate}
ssl.truststore.type=PEM
ssl.truststore.certificates={authority}
"""
_LOGIN = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    'username="{user}" password="{password}" user_{user}="{password}";'
)
# Asks which requests the server knows, which it answers before anybody has logged in.
_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)


def server(site: Site, progress: Progress) -> Server:
    """Return a Kafka that keeps its data in the site's folder and knows one user."""
    java, jars = site.programs or (str(find_java(progress)), str(find_jars(progress)))
    port, controller, _ = site.ports
    data = site.folder / "data"
    properties = site.folder / "server.properties"
    lines = _CONFIGURATION.format(host=HOST, port=port, controller=controller, data=data)
    write_secret(properties, lines + _security(site))
    run = (java, _MEMORY, "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
    start = _start((*run, "-cp", f"{jars}/*"), properties, data)
    return Server(
        Program("kafka", ("/bin/sh", "-c", start), site.folder, site.env, stop_seconds=_STOP_SECONDS),
        {_VARIABLE: f"{HOST}:{port}", "KAFKA_USERNAME": USER, "KAFKA_PASSWORD": site.password},
        check_probe(partial(answers, port), "does not answer"),
    )


def _security(site: Site) -> str:
    if site.certificates is None:
        return _SASL.format(login=_LOGIN.format(user=USER, password=site.password))
    tls = site.certificates
    files = {"key": tls.server_key, "certificate": tls.server, "authority": tls.authority}
    return _TLS.format_map({name: path.read_text().replace("\n", "\\n") for name, path in files.items()})


def _start(java: Sequence[str], properties: Path, data: Path) -> str:
    """The script that starts Kafka, the first time in a folder that it has prepared."""
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    tool = (*java, "kafka.tools.StorageTool", "format", "--ignore-formatted")
    prepare = (*tool, f"--cluster-id={cluster}", f"--config={properties}")
    there = f"[ -e {shlex.quote(str(data / 'meta.properties'))} ]"
    return f"{there} || {shlex.join(prepare)} && exec {shlex.join((*java, 'kafka.Kafka', str(properties)))}"


async def answers(port: int) -> bool:
    """Say whether the Kafka on the port takes requests: it listens long before it does."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(_API_VERSIONS)
                return bool(await reader.read(4))
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


def _fault(answer: bytes) -> str:
    return "" if answer else "ends the connection without an answer"


BROKER: Final = Broker(_VARIABLE, server, greeting=Greeting(lambda _: _API_VERSIONS, _fault))
