"""Mosquitto, for MQTT."""

from __future__ import annotations

import getpass
import secrets
import struct
import subprocess
from functools import partial
from typing import Final
from urllib.parse import SplitResult, unquote

from deploy.local.brokers.greeting import Greeting
from deploy.local.brokers.server import USER, Broker, Server, Site, find_program
from deploy.local.ports import HOST
from deploy.local.progress import Progress
from deploy.local.readiness import check_probe
from deploy.local.servers import listens, write_secret
from deploy.local.spawning import Program

_VARIABLE: Final = "MQTT_URL"
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
    binary = find_program("mosquitto", ["mosquitto"], _MEND, progress)
    hasher = find_program("mosquitto_passwd", ["mosquitto"], _MEND, progress)
    passwords = site.folder / "passwords"
    write_secret(passwords, f"{USER}:{site.password}\n")
    # Hashed in place: given as an argument, every user of the machine could read it.
    subprocess.run([hasher, "-U", passwords], check=True, capture_output=True)  # noqa: S603 - as it was found
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
        Program("mosquitto", (str(binary), "-c", str(configuration)), site.folder, site.env),
        {_VARIABLE: f"{scheme}://{USER}:{site.password}@{HOST}:{port}"},
        check_probe(partial(listens, f"{HOST}:{port}"), "does not listen"),
    )


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


BROKER: Final = Broker(_VARIABLE, server, greeting=Greeting(_connect, _fault))
