"""Mosquitto, for MQTT."""

from __future__ import annotations

import getpass
import subprocess
from functools import partial
from typing import Final

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


def server(site: Site, progress: Progress) -> Server:
    """Return a Mosquitto that keeps its data in the site's folder and knows one user."""
    binary = find_program("mosquitto", ["mosquitto"], _MEND, progress)
    hasher = find_program("mosquitto_passwd", ["mosquitto"], _MEND, progress)
    passwords = site.folder / "passwords"
    write_secret(passwords, f"{USER}:{site.password}\n")
    # Hashed in place: given as an argument, every user of the machine could read it.
    subprocess.run([hasher, "-U", passwords], check=True, capture_output=True)  # noqa: S603
    port = site.ports[0]
    configuration = site.folder / "mosquitto.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            port=port, host=HOST, passwords=passwords, folder=site.folder, user=getpass.getuser()
        ),
        encoding="utf-8",
    )
    return Server(
        Program("mosquitto", (str(binary), "-c", str(configuration)), site.folder, site.env),
        {_VARIABLE: f"mqtt://{USER}:{site.password}@{HOST}:{port}"},
        check_probe(partial(listens, f"{HOST}:{port}"), "does not listen"),
    )


BROKER: Final = Broker(_VARIABLE, server)
