"""Mosquitto, for MQTT."""

from __future__ import annotations

import base64
import getpass
import hashlib
import secrets
import struct
from collections.abc import Mapping
from functools import partial
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

from deploy.local.brokers.greeting import Greeting
from deploy.local.brokers.server import USER, Broker, OtherNames, Server, Site, find_program
from deploy.local.components import Component
from deploy.local.errors import VariableError
from deploy.local.ports import HOST
from deploy.local.progress import Progress
from deploy.local.readiness import check_probe
from deploy.local.servers import listens, write_secret
from deploy.local.spawning import Program

_VARIABLE: Final = "MQTT_URL"
_ADDRESS: Final = "MQTT_BROKER_ADDRESS"
_CERTIFICATES: Final = ("MQTT_CA_CERT", "MQTT_CLIENT_CERT", "MQTT_CLIENT_KEY")
_MEND: Final = "install it (Debian: apt install mosquitto; macOS: brew install mosquitto), or set MQTT_URL"
# What waits for a client is without a limit: by default the server drops all above 1,000 messages, in silence.
_CONFIGURATION = """\
listener {port} {host}
allow_anonymous false
password_file {passwords}
persistence true
persistence_location {folder}/
autosave_interval 30
max_queued_messages 0
max_inflight_messages 100
set_tcp_nodelay true
user {user}
log_dest stderr
"""
_TLS = """\
cafile {tls.authority}
certfile {tls.server}
keyfile {tls.server_key}
require_certificate true
"""
_ANSWER = 4  # bytes
_REFUSALS: Final = {
    1: "does not speak MQTT 3.1.1",
    3: "is not available",
    4: "does not know the user and password in the address",
    5: "does not let the user and password in the address in",
}
_SEVEN_BITS: Final = 0x80


def server(site: Site, progress: Progress) -> Server:
    """Return a Mosquitto that keeps its data in the site's folder and knows one user."""
    (binary,) = site.programs or (str(find_program("mosquitto", ["mosquitto"], _MEND, progress)),)
    passwords = site.folder / "passwords"
    write_secret(passwords, f"{USER}:{_hashed(site.password)}\n")
    port = site.ports[0]
    configuration = site.folder / "mosquitto.conf"
    lines = _CONFIGURATION.format(
        port=port, host=HOST, passwords=passwords, folder=site.folder, user=getpass.getuser()
    )
    scheme = "mqtt"
    if site.certificates is not None:
        lines += _TLS.format(tls=site.certificates)
        scheme = "mqtts"
    configuration.write_text(lines, encoding="utf-8")
    return Server(
        Program("mosquitto", (binary, "-c", str(configuration)), site.folder, site.env),
        {_VARIABLE: f"{scheme}://{USER}:{site.password}@{HOST}:{port}"},
        check_probe(partial(listens, f"{HOST}:{port}"), "does not listen"),
    )


def _hashed(password: str) -> str:
    """A password as mosquitto_passwd of Mosquitto 2 writes it: 101 rounds of PBKDF2."""
    salt = secrets.token_bytes(12)
    found = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return "$".join(["", "7", "101", base64.b64encode(salt).decode(), base64.b64encode(found).decode()])


def _connect(address: SplitResult) -> bytes:
    """MQTT 3.1.1's CONNECT, in a session that ends with the connection."""
    client = f"dovecote-{secrets.token_hex(6)}"
    flags = 0x02 | (0x80 if address.username else 0) | (0x40 if address.password else 0)
    fields = [text.encode() for text in (client, unquote(address.username or ""), unquote(address.password or ""))]
    payload = b"".join(struct.pack(">H", len(text)) + text for text in fields if text)
    rest = struct.pack(">H4sBBH", 4, b"MQTT", 4, flags, 0) + payload
    # Seven bits a byte, the low ones first.
    size = (
        bytes([len(rest)])
        if len(rest) < _SEVEN_BITS
        else bytes([len(rest) % _SEVEN_BITS | 0x80, len(rest) // _SEVEN_BITS])
    )
    return b"\x10" + size + rest


def _fault(answer: bytes) -> str:
    if len(answer) < _ANSWER or answer[:2] != b"\x20\x02":
        return "does not answer as an MQTT server"
    return _REFUSALS.get(answer[3], f"refuses the connection with code {answer[3]}") if answer[3] else ""


def _read(component: Component, env: Mapping[str, str]) -> Mapping[str, str]:
    """The components' variables, from those that Argentic documents."""
    if "MQTT_CLIENT_ID" in env:
        raise VariableError(
            f"MQTT_CLIENT_ID is {env['MQTT_CLIENT_ID']!r}, which cannot be honoured: each sidecar is a client "
            "of its own, and of two clients with one id each evicts the other; unset it: each makes one of its own"
        )
    if _ADDRESS not in env:
        return {}
    if _VARIABLE in env:
        raise VariableError(f"{_VARIABLE} and {_ADDRESS} both say where the server is: unset one of them")
    reads = component.variables.values()
    for name in _CERTIFICATES:
        if env.get(name) and name not in reads:
            raise VariableError(
                f"{name} is set, and {component.path} shows and checks no certificate: "
                "take components/pubsub/mqtt-tls (make run BROKER=mqtt-tls)"
            )
    scheme, port = ("mqtts", 8883) if component.takes_certificate else ("mqtt", 1883)
    place = _place(env[_ADDRESS], port)
    # A certificate that is not named is none.
    unnamed = {name: "" for name in _CERTIFICATES if name in reads and name not in env}
    return {_VARIABLE: f"{scheme}://{_login(env)}{place}", **unnamed}


def _place(address: str, port: int) -> str:
    try:
        parts = urlsplit(f"//{address}")
        valid = parts.hostname is not None and parts.netloc == address and "@" not in address
        port = parts.port or port
    except ValueError:
        valid = False
    if not valid:
        raise VariableError(f"{_ADDRESS} has {address!r}: it must be a host, or host:port")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{port}"


def _login(env: Mapping[str, str]) -> str:
    user, password = env.get("MQTT_USERNAME", ""), env.get("MQTT_PASSWORD", "")
    if password and not user:
        raise VariableError("MQTT_PASSWORD is set, and MQTT_USERNAME is not: set both, or none")
    return f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""


BROKER: Final = Broker(
    _VARIABLE,
    server,
    greeting=Greeting(_connect, _fault),
    other_names=OtherNames(_ADDRESS, ("MQTT_USERNAME", "MQTT_PASSWORD", *_CERTIFICATES), _read),
)
