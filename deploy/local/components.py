"""What component files say, as far as the launcher needs to know it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.local.errors import RunFileError

_ENVIRONMENT: Final = "secrets"  # the secret store of components/shared


@dataclass(frozen=True)
class Component:
    """One component: its settings as they stand in the file, and the variables that hold the others."""

    path: Path
    name: str
    type: str
    settings: Mapping[str, str]
    variables: Mapping[str, str]
    """The environment variable in which the value lies, by the setting's name."""
    elsewhere: frozenset[str] = frozenset()
    """The settings whose values another secret store than the environment has."""

    @property
    def takes_certificate(self) -> bool:
        """Whether it shows a certificate to its server, which is then to ask for one."""
        return "clientCert" in self.variables


def load_components(folders: Iterable[Path]) -> list[Component]:
    """Return the components in the YAML files of the folders; raises RunFileError for what is no YAML."""
    paths = [path for folder in folders for path in sorted(folder.glob("*.yaml"))]
    return [component for path in paths for component in read_components(path)]


def read_components(path: Path) -> Iterator[Component]:
    """Yield the components in a file; raises RunFileError for what is no YAML."""
    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise RunFileError(f"{path} is not YAML: {error}") from error
    for document in documents:
        if isinstance(document, dict) and document.get("kind") == "Component":
            yield _component(path, document)


def _component(path: Path, document: dict[str, Any]) -> Component:
    try:
        spec = document["spec"]
        rows = spec.get("metadata") or []
        references = {row["name"]: str(row["secretKeyRef"]["key"]) for row in rows if "secretKeyRef" in row}
        from_environment = (document.get("auth") or {}).get("secretStore") in {None, _ENVIRONMENT}
        return Component(
            path,
            document["metadata"]["name"],
            spec["type"],
            {row["name"]: str(row["value"]) for row in rows if "value" in row},
            references if from_environment else {},
            frozenset() if from_environment else frozenset(references),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise RunFileError(f"{path} is no Dapr component: it lacks {error}") from error
