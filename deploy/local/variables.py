"""The environment variables that components read: whether each is set, and certificates that are given as files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from deploy.local.components import Component
from deploy.local.errors import VariableError

_CERTIFICATES: Final = ("caCert", "clientCert", "clientKey")
_SECRETS_TYPE: Final = "secretstores.local.env"
_PEM: Final = "-----BEGIN "


def require_set(components: Iterable[Component], env: Mapping[str, str]) -> None:
    """Raise VariableError, naming file, setting and variable, for each that a component reads and that is not set.

    What is empty is set. Where secrets are kept elsewhere than in the environment, nothing is looked at.
    """
    loaded = list(components)
    if not any(component.type == _SECRETS_TYPE for component in loaded):
        return
    missing = [
        f"{component.path}: {setting} is read from {variable}, which is not set: set it, or remove {setting}"
        for component in loaded
        for setting, variable in component.variables.items()
        if variable not in env
    ]
    if missing:
        raise VariableError("\n".join(dict.fromkeys(missing)))


def certificates(components: Iterable[Component], env: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the text of each certificate and key that a variable names as a file, by the variable.

    Sidecars want the text itself. A path is relative to `folder`. Raises VariableError for what is neither.
    """
    return {
        variable: _text(component, setting, variable, env[variable], folder)
        for component, setting, variable in _references(components)
        if env.get(variable, "") and not _is_pem(env[variable])
    }


def _references(components: Iterable[Component]) -> Iterator[tuple[Component, str, str]]:
    for component in components:
        for setting in _CERTIFICATES:
            if setting in component.variables:
                yield component, setting, component.variables[setting]


def _text(component: Component, setting: str, variable: str, value: str, folder: Path) -> str:
    source = f"{variable}, which {component.path} reads as {setting},"
    try:
        text = (folder / Path(value).expanduser()).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise VariableError(f"{source} has neither PEM text nor the path of a readable file: {reason}") from error
    if not _is_pem(text):
        raise VariableError(f"{source} names a file that has no PEM text: {value!r}")
    return text


def _is_pem(text: str) -> bool:
    return _PEM in text
