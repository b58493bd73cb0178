"""A messaging file in Argentic's format: its keys as they are written, and what becomes of each.

Source: the document on Argentic's messaging configuration. What maps to what is data,
src/dovecote/adapters/argentic_config.yaml; why a setting cannot be had, components/settings.yaml says as well.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field

from dovecote.cli.errors import CommandError

MAPPING: Final = Path(__file__).parents[1] / "adapters" / "argentic_config.yaml"
_REFERENCE: Final = re.compile(r"\$\{([^}]*)\}")


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Setting(_Data):
    """The setting of components that a key is."""

    setting: str
    components: tuple[str, ...] = ()
    takes: str = ".+"
    value: str = "{}"


class Kept(_Data):
    """A value that changes nothing."""

    value: str = Field(alias="is")
    because: str


class Follow(_Data):
    """Settings that come with keys."""

    given: dict[str, str]
    settings: dict[str, str]


class Protocol(_Data):
    """What becomes of the keys of one protocol."""

    folder: str
    tls_folder: str | None = None
    ports: tuple[str, str]
    schemes: tuple[str, str] = ("", "")
    variables: dict[str, str]
    defaults: dict[str, str] = {}
    follows: tuple[Follow, ...] = ()
    settings: dict[str, Setting] = {}
    kept: dict[str, Kept] = {}
    reasons: dict[str, str] = {}


class Format(_Data):
    """All that is known of the format."""

    aliases: dict[str, str]
    secrets: frozenset[str]
    files: frozenset[str]
    environment: dict[str, str]
    kept: dict[str, Kept]
    reasons: dict[str, str]
    protocols: dict[str, Protocol]


def read_format() -> Format:
    """All that is known of the format."""
    return Format.model_validate(yaml.safe_load(MAPPING.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class File:
    """A file that was read: its protocol, the values of its keys, and where it lies.

    Keys of the section `messaging` are paths in it, those of other known sections are paths in the file. `written`
    has the path of each in the file; `unread` are sections that are about something else.
    """

    path: Path
    protocol: str
    values: Mapping[str, str]
    written: Mapping[str, str]
    unread: tuple[str, ...]


class _Strict(yaml.SafeLoader):
    """YAML in which no key may be there twice: the first would count for nothing, without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                raise yaml.MarkedYAMLError(problem=f"key {key!r} is there twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def read_file(path: Path, known: Format, env: Mapping[str, str]) -> File:
    """Read a file, with `${VAR}` as `env` has it. Raises CommandError for what is no file of the format."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Strict)  # noqa: S506 - a safe loader, made stricter
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise CommandError(f"{path} is not YAML: {' '.join(str(error).split())}", mend="mend that line") from error
    if not isinstance(document, dict) or not isinstance(document.get("messaging"), dict):
        raise CommandError(f"{path} has no section 'messaging' with keys in it", mend="name a messaging file")
    leaves = dict(_leaves(document.pop("messaging"), ""))
    paths = {key: f"messaging.{key}" for key in leaves}
    for section in [name for name in document if name in {key.partition(".")[0] for key in known.environment}]:
        others = dict(_leaves(document.pop(section), section))
        leaves, paths = leaves | others, paths | dict(zip(others, others, strict=True))
    texts = _resolved(path, {paths[key]: value for key, value in leaves.items()}, env)
    named: dict[str, str] = {}
    for key, where in paths.items():
        name = known.aliases.get(key, key)
        if name in named:
            raise CommandError(f"{path}: {where!r} and {named[name]!r} say the same: remove one")
        named[name] = where
    protocol = texts.get(named.pop("protocol", ""), "")
    if protocol not in known.protocols:
        said = f"protocol is {protocol!r}, which is unknown" if protocol else "protocol is not set"
        raise CommandError(f"{path}: messaging.{said}", mend=f"choose one of: {', '.join(known.protocols)}")
    values = {name: texts[where] for name, where in named.items()}
    return File(path, protocol, values, named, tuple(map(str, document)))


def _leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _resolved(path: Path, leaves: Mapping[str, object], env: Mapping[str, str]) -> dict[str, str]:
    """The values as text, without those that are empty."""
    texts: dict[str, str] = {}
    missing: list[str] = []
    for key, value in leaves.items():
        if isinstance(value, list | dict) and value:
            raise CommandError(f"{path}: {key} is {value!r}, and must be a single value")
        text = "" if value in (None, [], {}) else str(value).lower() if isinstance(value, bool) else str(value)
        missing += [f"{key} reads {name!r}" for name in _REFERENCE.findall(text) if name not in env]
        texts[key] = _REFERENCE.sub(lambda found: env.get(found[1], ""), text)
    if missing:
        raise CommandError(
            f"{path}: {', '.join(missing)}, which is set nowhere",
            mend=f"set it, or write it to {path.parent / '.env'}",
        )
    return texts
