"""Redis with TLS, beside the embedded one, which has none."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from functools import partial
from typing import Final

from deploy.local.brokers.greeting import Greeting
from deploy.local.brokers.server import Broker, Server, Site, find_program
from deploy.local.certificates import Certificates
from deploy.local.errors import RunFileError
from deploy.local.ports import HOST
from deploy.local.progress import Progress
from deploy.local.readiness import check_probe
from deploy.local.servers import listens, redis_configuration, write_secret
from deploy.local.spawning import Program

_VARIABLE: Final = "REDIS_TLS_HOST"
_MEND: Final = (
    "install one with TLS (Debian: apt install redis-server; macOS: brew install redis), or set REDIS_TLS_HOST"
)
_LISTEN = """\
port 0
tls-port {port}
tls-ca-cert-file "{tls.authority}"
tls-cert-file "{tls.server}"
tls-key-file "{tls.server_key}"
tls-auth-clients yes"""


def server(site: Site, progress: Progress) -> Server:
    """Return a Redis that keeps its data in the site's folder and takes TLS only."""
    if site.certificates is None:
        raise RunFileError(f"{_VARIABLE} is for a Redis with TLS: give the component enableTLS and a clientCert")
    binary = find_program("redis-server", ["redis-server"], _MEND, progress)
    port = site.ports[0]
    data = site.folder / "data"
    data.mkdir(exist_ok=True)
    configuration = site.folder / "redis.conf"
    listen = _LISTEN.format(port=port, tls=site.certificates)
    write_secret(configuration, redis_configuration(listen, site.password, data))
    return Server(
        Program("redis-tls", (str(binary), str(configuration)), data, site.env),
        {
            _VARIABLE: f"{HOST}:{port}",
            "REDIS_TLS_PASSWORD": site.password,
            "SSL_CERT_DIR": _trusting(site.certificates, site.env),
        },
        check_probe(partial(listens, f"{HOST}:{port}"), "does not listen"),
    )


def _trusting(certificates: Certificates, env: Mapping[str, str]) -> str:
    """The folders of authorities that programs trust, ours first: the component has no setting for it."""
    others = env.get("SSL_CERT_DIR") or ssl.get_default_verify_paths().openssl_capath
    return f"{certificates.trusted}{os.pathsep}{others}"


def _fault(answer: bytes) -> str:
    # Asked for the password, which the sidecar gives it and whose refusal it tells.
    return "" if answer[:1] == b"+" or answer.startswith(b"-NOAUTH") else "does not answer as a Redis server"


BROKER: Final = Broker(_VARIABLE, server, greeting=Greeting(lambda _: b"PING\r\n", _fault))
