"""`dovecote import`: a messaging file becomes a component file and a .env, and each of its keys is accounted for.

Nothing of a broker is known here: dovecote.cli.argentic reads what becomes of what from data.
"""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

import yaml
from dotenv import dotenv_values
from pydantic import TypeAdapter, ValidationError

from dovecote.cli.argentic import File, Format, Protocol, Setting
from dovecote.cli.errors import CommandError
from dovecote.cli.launcher import load
from dovecote.settings import Settings

Outcome = Literal["mapped", "as it is", "not settable", "not known", "not read"]

COMPONENTS, VARIABLES = "pubsub.yaml", ".env"
_HIDDEN: Final = "***"
_TLS: Final = "tls_params"
_PREFIX: Final = "DOVECOTE_"
_HOST: Final = re.compile(r"[^\s:/@,\[\]]+|\[?[0-9a-fA-F]*:[0-9a-fA-F:.]*:[0-9a-fA-F.]*\]?")
_LAST_PORT: Final = 65535
# What the templates of variables may hold beside the keys themselves, and the keys that it is made of.
_COMPOSED: Final = {"login": ("username", "password"), "vhost": ("virtualhost",), "scheme": ()}


@dataclass(frozen=True)
class Account:
    """What became of a key: `text` says where it is now, or why not."""

    key: str
    value: str
    outcome: Outcome
    text: str


class Import:
    """One file on its way into a checkout; nothing is written before `write`."""

    def __init__(self, file: File, known: Format, checkout: Path) -> None:
        self._file = file
        self._known = known
        self._protocol: Protocol = known.protocols[file.protocol]
        self._values = {key: value for key, value in file.values.items() if value}
        self._tls = self._protocol.tls_folder is not None and any(key.startswith(_TLS) for key in self._values)
        self._folder = (self._protocol.tls_folder if self._tls else None) or self._protocol.folder
        self._components = checkout / "components"
        self._checkout = checkout

    @cached_property
    def documents(self) -> list[dict[str, Any]]:
        """The template's components, with the settings of the file."""
        template = self._components / "pubsub" / self._folder / COMPONENTS
        documents = list(yaml.safe_load_all(template.read_text(encoding="utf-8")))
        for document in documents:
            rows = {row["name"]: row for row in document["spec"]["metadata"]}
            for name, value in self._settings(document["metadata"]["name"]).items():
                variable = value.removeprefix("$")
                held = (
                    {"secretKeyRef": {"name": variable, "key": variable}} if value != variable else {"value": value}
                )
                rows[name] = {"name": name, **held}
            document["spec"]["metadata"] = [*rows.values()]
        return documents

    @cached_property
    def variables(self) -> dict[str, str]:
        """What is to stand in .env: the variables that the components read, and settings of the apps."""
        parts = self._parts()
        found = {name: template.format_map(parts) for name, template in self._read.items()}
        found |= {self._known.environment[key]: self._values[key] for key in self._environment}
        return found

    def accounts(self) -> Iterator[Account]:
        """What became of each key, in the order of the file."""
        for key, path in self._file.written.items():
            shown = _HIDDEN if key in self._known.secrets else self._file.values[key]
            outcome, text = self._account(key)
            yield Account(path, shown, outcome, text)
        yield from (Account(name, "", "not read", "it is not about messaging") for name in self._file.unread)

    def write(self, folder: Path, *, force: bool) -> list[Path]:
        """Write the component file and .env, both or none; returns their paths.

        Raises CommandError for a file that is there already, unless `force`, and for what the start would refuse.
        """
        texts = {folder / COMPONENTS: self._component_text(), folder / VARIABLES: self._variable_text()}
        there = [str(path) for path in texts if path.exists()]
        if there and not force:
            raise CommandError(
                f"{', '.join(there)} is there already", mend="name another folder with --out, or --force"
            )
        self._check(texts[folder / COMPONENTS])
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            path.unlink(missing_ok=True)
            # Passwords may be in it.
            with os.fdopen(
                os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
            ) as file:
                file.write(text)
        return [*texts]

    def _settings(self, component: str) -> dict[str, str]:
        """The settings that a component gets from the file."""
        found: dict[str, str] = {}
        for follow in self._protocol.follows:
            if all(re.fullmatch(fits, self._values.get(key, "")) for key, fits in follow.given.items()):
                found |= follow.settings
        chosen: dict[str, list[str]] = {}
        for key, setting in self._mapped.items():
            if component in (setting.components or (component,)):
                chosen.setdefault(setting.setting, []).append(setting.value.format(self._values[key]))
        return found | {name: max(values) for name, values in chosen.items()}

    @cached_property
    def _mapped(self) -> dict[str, Setting]:
        """The keys that are settings of components, and whose values these take."""
        return {
            key: setting
            for key, setting in self._protocol.settings.items()
            if key in self._values and re.fullmatch(setting.takes, self._values[key])
        }

    @cached_property
    def _read(self) -> dict[str, str]:
        """The templates of the variables that the components read."""
        rows = [row for document in self.documents for row in document["spec"]["metadata"]]
        names = {row["secretKeyRef"]["key"] for row in rows if "secretKeyRef" in row}
        return {name: template for name, template in self._protocol.variables.items() if name in names}

    @cached_property
    def _environment(self) -> list[str]:
        """The keys that are settings of the apps; CommandError for a value that these do not take."""
        keys = [
            key for key in self._values if self._known.environment.get(key, "")[len(_PREFIX) :].lower() in _fields()
        ]
        for key in keys:
            name = self._known.environment[key].removeprefix(_PREFIX).lower()
            try:
                _field(name).validate_python(self._values[key])
            except ValidationError as error:
                fault = error.errors()[0]["msg"]
                raise CommandError(f"{self._file.path}: {key} is {self._values[key]!r}: {fault}") from error
        return keys

    def _parts(self) -> dict[str, str]:
        """The values that templates of variables are filled with."""
        leaves = {key.rpartition(".")[2]: value for key, value in self._values.items()}
        given = {
            **dict.fromkeys(_fields_of(self._protocol.variables.values()), ""),
            **self._protocol.defaults,
            **leaves,
        }
        given["port"] = leaves.get("port") or self._protocol.ports[self._tls]
        for name in self._known.files & leaves.keys():
            # The launcher reads it relative to the checkout.
            given[name] = str(self._file.path.parent.resolve() / Path(leaves[name]).expanduser())
        self._check_place(given)
        host = given["broker_address"]
        user, password = leaves.get("username", ""), leaves.get("password", "")
        return {
            **given,
            "broker_address": f"[{host.strip('[]')}]" if ":" in host else host,
            "scheme": self._protocol.schemes[self._tls],
            "login": f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else "",
            "vhost": quote(leaves.get("virtualhost", ""), safe=""),
        }

    def _check_place(self, given: Mapping[str, str]) -> None:
        faults = []
        if not _HOST.fullmatch(given["broker_address"]):
            faults.append(
                f"broker_address is {given['broker_address']!r}: it must be a host, without scheme and port"
            )
        for name in ("port", "backend_port"):
            text = given.get(name)
            if text is not None and not (text.isdecimal() and 1 <= int(text) <= _LAST_PORT):
                faults.append(f"{name} is {text!r}: it must be a number from 1 to {_LAST_PORT}")
        if given.get("password") and not given.get("username") and "login" in _fields_of(self._read.values()):
            faults.append("password is set, and username is not: set both, or none")
        if faults:
            raise CommandError("\n".join(f"{self._file.path}: messaging.{fault}" for fault in faults))

    def _account(self, key: str) -> tuple[Outcome, str]:
        value = self._file.values[key]
        if not value:
            return "as it is", "it is empty, as if it were not there"
        if where := self._where(key):
            return "mapped", where
        kept = {**self._known.kept, **self._protocol.kept}.get(key)
        if kept and self._applies(key) and re.fullmatch(kept.value, value):
            return "as it is", kept.because
        reason = self._reason(key)
        return ("not settable", reason) if reason else ("not known", "the format has no such key")

    def _applies(self, key: str) -> bool:
        """Whether there is TLS, for a key that is about it."""
        return self._tls or not key.startswith(_TLS)

    def _where(self, key: str) -> str:
        """Where the value of a key is now; "" if it is nowhere."""
        if key in self._environment:
            return f"{self._known.environment[key]} in {VARIABLES}"
        if variables := self._variables_of(key):
            return f"{', '.join(variables)} in {VARIABLES}"
        return self._setting_text(self._mapped[key]) if key in self._mapped else ""

    def _variables_of(self, key: str) -> list[str]:
        leaf = key.rpartition(".")[2]
        names = {leaf, *(name for name, keys in _COMPOSED.items() if leaf in keys)}
        return [variable for variable, template in self._read.items() if names & _fields_of([template])]

    def _setting_text(self, setting: Setting) -> str:
        named = [document["metadata"]["name"] for document in self.documents]
        where = [name for name in named if name in (setting.components or named)]
        return f"{setting.setting} of {', '.join(where)}: {self._settings(where[0])[setting.setting]}"

    def _reason(self, key: str) -> str:
        """Why a key cannot be set; "" for one that nobody knows."""
        tables = (self._protocol.reasons, self._known.reasons, self._refused)
        section, _, leaf = key.rpartition(".")
        names = (key, leaf, section) if self._applies(key) else (section,)
        found = next((table[name] for name in names for table in tables if name in table), "")
        setting = self._protocol.settings.get(key)
        if not found and setting:
            return f"{setting.setting} does not take that value"
        if not found and key in self._known.environment:
            return f"no app reads {self._known.environment[key]}"
        return found

    @cached_property
    def _refused(self) -> dict[str, str]:
        """Why the component cannot be told something, by its name in other systems."""
        known = load(self._checkout, "settings").read_known(self._components / "settings.yaml")
        refused: dict[str, str] = known[self.documents[0]["spec"]["type"]].refused
        return refused

    def _component_text(self) -> str:
        head = (
            f"# Written by `dovecote import` from {self._file.path.name}, after components/pubsub/{self._folder}.\n"
        )
        return head + yaml.safe_dump_all(self.documents, sort_keys=False, allow_unicode=True, width=120)

    def _variable_text(self) -> str:
        escaped = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in self.variables.items()}
        text = "".join(f"{name}='{value}'\n" for name, value in escaped.items())
        if dotenv_values(stream=StringIO(text)) != self.variables:
            raise CommandError(
                f"{self._file.path}: a value has what cannot stand in a file .env: {', '.join(self.variables)}",
                mend="use no ${ and no line break in it",
            )
        return f"# Written by `dovecote import` from {self._file.path.name}.\n{text}"

    def _check(self, text: str) -> None:
        """Raise CommandError for what the start would refuse."""
        settings = load(self._checkout, "settings")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / COMPONENTS
            path.write_text(text, encoding="utf-8")
            components = list(load(self._checkout, "components").read_components(path))
        found = settings.problems(components, settings.read_known(settings.FILE), self.variables)
        if refused := list(dict.fromkeys(problem.text for problem in found if not problem.warn)):
            raise CommandError(f"{self._file.path}: the start would refuse this: {'; '.join(refused)}")


def _fields() -> frozenset[str]:
    return frozenset(Settings.model_fields)


def _field(name: str) -> TypeAdapter[Any]:
    """What a setting of the apps takes; the other settings, and the environment, have no part in it."""
    field = Settings.model_fields[name]
    takes: Any = Annotated[field.annotation, field]
    return TypeAdapter(takes)


def _fields_of(templates: Any) -> set[str]:
    return {field for template in templates for _, field, _, _ in Formatter().parse(template) if field}
