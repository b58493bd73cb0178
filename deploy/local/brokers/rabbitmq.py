"""RabbitMQ."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from deploy.local.brokers.greeting import Greeting
from deploy.local.brokers.server import USER, Broker, Server, Site, find_program
from deploy.local.ports import HOST
from deploy.local.progress import Progress
from deploy.local.readiness import check_probe
from deploy.local.servers import listens, write_secret
from deploy.local.spawning import Program

_VARIABLE: Final = "RABBITMQ_URL"
_MEND: Final = "install it (Debian: apt install rabbitmq-server; macOS: brew install rabbitmq), or set RABBITMQ_URL"
# Debian's command of that name runs for root and rabbitmq only, in the folders of the machine's service.
_DEBIAN = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_STOP_SECONDS = 20.0
# When a connection is lost and Dapr's component subscribes to several topics again at once, it may leave consumers
# behind that take messages and handle none (measured with 1.18.3). After 45 seconds, which no handler takes, the
# server ends their channel and gives the messages back.
_CONFIGURATION = """\
{listeners}
default_user = {user}
default_pass = {password}
loopback_users = none
log.file = false
log.console = true
consumer_timeout = 45000
"""
_PLAIN = "listeners.tcp.1 = {host}:{port}"
_TLS = """\
listeners.tcp = none
listeners.ssl.1 = {host}:{port}
ssl_options.cacertfile = {tls.authority}
ssl_options.certfile = {tls.server}
ssl_options.keyfile = {tls.server_key}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true"""
# How often a channel looks at the consumer_timeout has no name in the configuration file.
_ERLANG = "-kernel inet_dist_use_interface {127,0,0,1} -rabbit channel_tick_interval 5000"
# Erlang's port mapper belongs to this node alone, and ends with it: it is in the same process group.
_START = 'epmd -port "$ERL_EPMD_PORT" -address "$ERL_EPMD_ADDRESS" & exec "$0"'


def server(site: Site, progress: Progress) -> Server:
    """Return a RabbitMQ node that keeps its data in the site's folder and knows one user."""
    (script,) = site.programs or (_script(progress),)
    port = site.ports[0]
    configuration = site.folder / "rabbitmq.conf"
    scheme, listeners = ("amqp", _PLAIN) if site.certificates is None else ("amqps", _TLS)
    listeners = listeners.format(host=HOST, port=port, tls=site.certificates)
    write_secret(configuration, _CONFIGURATION.format(listeners=listeners, user=USER, password=site.password))
    plugins = site.folder / "enabled_plugins"
    plugins.write_text("[].\n", encoding="utf-8")
    command = ("/bin/sh", "-c", _START, script)
    env = {**site.env, **_environment(site, configuration, plugins)}
    return Server(
        Program("rabbitmq", command, site.folder, env, stop_seconds=_STOP_SECONDS),
        {_VARIABLE: f"{scheme}://{USER}:{site.password}@{HOST}:{port}"},
        check_probe(partial(listens, f"{HOST}:{port}"), "does not listen"),
    )


def _script(progress: Progress) -> str:
    found = find_program("rabbitmq-server", ["rabbitmq-server"], _MEND, progress)
    return str(_DEBIAN if _DEBIAN.exists() else found)


def _environment(site: Site, configuration: Path, plugins: Path) -> dict[str, str]:
    _, distribution, mapper = site.ports
    return {
        "HOME": str(site.folder),  # Erlang's cookie lies there
        # Not after the port: the data belongs to the name, and outlives a move to other ports.
        "RABBITMQ_NODENAME": "dovecote@localhost",
        "RABBITMQ_MNESIA_BASE": str(site.folder / "mnesia"),
        "RABBITMQ_CONFIG_FILE": str(configuration),
        "RABBITMQ_CONF_ENV_FILE": str(site.folder / "rabbitmq-env.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG,
        "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": HOST,
        "ERL_CRASH_DUMP_SECONDS": "0",
    }


def _fault(answer: bytes) -> str:
    # It answers with the frame of a method, or with the protocol that it wants.
    return "" if answer[:1] == b"\x01" else "does not answer as an AMQP 0.9.1 server"


BROKER: Final = Broker(_VARIABLE, server, greeting=Greeting(lambda _: b"AMQP\x00\x00\x09\x01", _fault))
