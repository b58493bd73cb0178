"""Asking a server that somebody else has started whether it takes us, before anything else is started.

A sidecar that is refused says so in its log, but not always why, and some only after a long time.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult

from deploy.local.components import Component
from deploy.local.errors import UnreachableError
from deploy.local.settings import is_true

_SECURE = ("mqtts", "ssl", "tls", "tcps", "amqps")
_NOT_VERIFYING = ("skipVerify", "insecureSkipTLSVerify")
_ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class Greeting:
    """What a client says first, from the server's address, and what is wrong with an answer: "" if nothing is."""

    words: Callable[[SplitResult], bytes]
    fault: Callable[[bytes], str]


async def require_welcome(
    variable: str, address: SplitResult, greeting: Greeting, component: Component, env: Mapping[str, str]
) -> None:
    """Raise UnreachableError, naming the variables to mend, unless the server answers the greeting.

    `component` is the one that reads the address from `variable`. An address without a scheme does not say
    whether its server wants TLS; then it is asked only if the component has a certificate to show.
    """
    secure = address.scheme in _SECURE or component.takes_certificate
    if not secure and not address.scheme:
        return
    try:
        fault = greeting.fault(await _answer(address, greeting, _Client(component, env) if secure else None))
    except TimeoutError:
        fault = f"takes the connection and does not answer in {_ANSWER_SECONDS:g} s"
    except ssl.SSLCertVerificationError as error:
        authority = component.variables.get("caCert", "this machine")
        fault = f"shows a certificate that {authority} does not vouch for ({error.verify_message})"
    except OSError as error:
        fault = f"breaks the connection off ({error}){_about_certificate(component, env) if secure else ''}"
    if fault:
        place = f"{address.hostname}:{address.port}"
        raise UnreachableError(f"{variable} names {place!r}, which {fault}")


def _about_certificate(component: Component, env: Mapping[str, str]) -> str:
    variable = component.variables.get("clientCert")
    if variable is None:
        return ": the component shows it no certificate"
    return f": look at the certificate in {variable}" if env.get(variable) else f": {variable} has no certificate"


async def _answer(address: SplitResult, greeting: Greeting, client: _Client | None) -> bytes:
    context = client.context() if client is not None else None
    async with asyncio.timeout(_ANSWER_SECONDS):
        reader, writer = await asyncio.open_connection(address.hostname, address.port, ssl=context)
        try:
            writer.write(greeting.words(address))
            # A server refuses a client's certificate only now.
            return await reader.read(64)
        finally:
            writer.transport.abort()


class _Client:
    """What the sidecar's client trusts and shows, from the component and the environment."""

    def __init__(self, component: Component, env: Mapping[str, str]) -> None:
        self._component = component
        self._env = env

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if any(is_true(self._component.settings.get(name, "")) for name in _NOT_VERIFYING):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif authority := self._value("caCert"):
            context.load_verify_locations(cadata=authority)
        else:
            context.load_default_certs()
            for path in self._trusted_here():
                context.load_verify_locations(path)
        if certificate := self._value("clientCert"):
            self._show(context, certificate)
        return context

    def _value(self, setting: str) -> str:
        return self._env.get(self._component.variables.get(setting, ""), "")

    def _trusted_here(self) -> list[Path]:
        # As the sidecar reads them: every file of the folders, whatever it is called.
        folders = self._env.get("SSL_CERT_DIR", "").split(os.pathsep)
        return [path for folder in folders if folder for path in Path(folder).glob("*.pem")]

    def _show(self, context: ssl.SSLContext, certificate: str) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(f"{certificate}\n{self._value('clientKey')}\n")
            file.flush()
            try:
                context.load_cert_chain(file.name)
            except ssl.SSLError as error:
                names = [self._component.variables.get(name) for name in ("clientCert", "clientKey")]
                raise UnreachableError(
                    f"{names[0]} and {names[1]} are no certificate and its key: {error.reason or error}"
                ) from error
