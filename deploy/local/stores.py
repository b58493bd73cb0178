"""Where state and secrets are kept on Azure, by the names that the agent communication system documents.

Its section Configuration has them: the mode, and the parts of what Dapr's components want whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote, urlsplit

from deploy.local.components import Component
from deploy.local.errors import VariableError

_MODES: Final = ("DOVECOTE_STATE_MODE", "AGENT_COMMUNICATION_MODE")  # the first that is set counts, as for the apps
_FOLDERS: Final = {"sql": "sqlserver", "mock": "in-memory", "": None}
_DATABASE: Final = "AZURE_SQL_CONNECTION_STRING"
_PARTS: Final = ("AZURE_SQL_SERVER", "AZURE_SQL_DATABASE", "AZURE_SQL_USERNAME", "AZURE_SQL_PASSWORD")
_VAULT: Final = "AZURE_KEY_VAULT_NAME"
_VAULT_URL: Final = "AZURE_KEY_VAULT_URL"
_VAULT_DOMAIN: Final = ".vault.azure.net"
# As in ODBC's connection strings: tcp:server.database.windows.net,1433
_SERVER: Final = re.compile(r"(?:tcp:)?(?P<host>[A-Za-z0-9._-]+)(?:[:,](?P<port>\d+))?")


def store_folder(env: Mapping[str, str]) -> str | None:
    """Return the folder of components/state that the mode asks for; None leaves the run file's.

    Raises VariableError for a mode that there is not.
    """
    name = next((name for name in _MODES if name in env), _MODES[-1])
    mode = env.get(name, "")
    if mode not in _FOLDERS:
        raise VariableError(f"{name} is {mode!r}: it is 'sql' or 'mock', or not set")
    return _FOLDERS[mode]


def azure_variables(components: Iterable[Component], env: Mapping[str, str]) -> dict[str, str]:
    """Return what components read of Azure, made of what its names in `env` say.

    Raises VariableError, with the names, for what is missing, contradicts itself, or cannot be honoured.
    """
    reads = {variable: component for component in components for variable in component.variables.values()}
    found: dict[str, str] = {}
    if _DATABASE in reads:
        found |= _database(reads[_DATABASE], env)
    if _VAULT in reads:
        found |= _vault(reads[_VAULT], env)
    return found


def _database(component: Component, env: Mapping[str, str]) -> dict[str, str]:
    given = [name for name in _PARTS if env.get(name)]
    if env.get(_DATABASE):
        if given:
            raise VariableError(f"{_DATABASE} and {given[0]} both say where the database is: unset one of them")
        return {}
    if missing := [name for name in _PARTS if name not in given]:
        raise VariableError(
            f"{component.path} keeps state in Azure SQL, and what is not set is {', '.join(missing)}: "
            f"set each, or {_DATABASE} instead, or choose another state store"
        )
    server, database, user, password = (env[name] for name in _PARTS)
    place = _SERVER.fullmatch(server)
    if place is None:
        raise VariableError(f"AZURE_SQL_SERVER is {server!r}: it must be a host, such as name.database.windows.net")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    address = f"{place['host']}:{place['port'] or 1433}?database={quote(database, safe='')}"
    return {_DATABASE: f"sqlserver://{login}@{address}&encrypt=true&TrustServerCertificate=false"}


def _vault(component: Component, env: Mapping[str, str]) -> dict[str, str]:
    if env.get(_VAULT):
        if env.get(_VAULT_URL):
            raise VariableError(f"{_VAULT} and {_VAULT_URL} both say which vault it is: unset one of them")
        return {}
    url = env.get(_VAULT_URL, "")
    if not url:
        raise VariableError(
            f"{component.path} reads a vault of Azure: set {_VAULT_URL}, or leave the component out"
        )
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https" or not host.endswith(_VAULT_DOMAIN):
        raise VariableError(
            f"{_VAULT_URL} is {url!r}: it must be https://<name>{_VAULT_DOMAIN}/; for a vault of another cloud "
            f"write azureEnvironment to {component.path}, and set {_VAULT}"
        )
    return {_VAULT: host.removesuffix(_VAULT_DOMAIN)}
