"""Settings of components against what their types can honour, as components/settings.yaml has it."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from deploy.local.components import Component
from deploy.local.errors import RunFileError, SettingError

FILE: Final = Path(__file__).resolve().parents[2] / "components" / "settings.yaml"
logger = logging.getLogger(__name__)
# Settings whose values are not shown: they have a secret, or may have one in an address.
_SECRET: Final = re.compile(r"password|secret|token|key$|connectionString|url", re.IGNORECASE)
# How Dapr reads a truth value.
_TRUTH: Final = {True: "true|t|yes|y|on|1", False: "false|f|no|n|off|0|"}


def _pattern(must: object) -> object:
    return _TRUTH[must] if isinstance(must, bool) else must


Pattern = Annotated[str, BeforeValidator(_pattern)]


class Rule(BaseModel):
    """What a setting's value must be, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    setting: str
    must: Pattern
    because: str
    default: str | None = None
    not_for: str | None = None
    fitting: dict[str, Pattern] = Field({}, alias="with")
    warn: bool = False


class Known(BaseModel):
    """What the components of one type know, and what they are asked for and cannot honour."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: frozenset[str]
    refused: dict[str, str] = {}
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Problem:
    """Something in a component's file that is refused, or told where `warn` is set."""

    path: Path
    text: str
    warn: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


def read_known(path: Path) -> dict[str, Known]:
    """Return what each component type can be told; raises RunFileError for a file that does not fit."""
    try:
        rows: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        everywhere = rows.pop("all")
        return {
            kind: Known.model_validate({**row, "settings": [*row["settings"], *_shared(kind, everywhere)]})
            for kind, row in rows.items()
        }
    except OSError as error:
        raise RunFileError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValidationError, AttributeError, KeyError, TypeError) as error:
        raise RunFileError(f"{path} does not say what components can be told: {error!r}") from error


def _shared(kind: str, everywhere: list[str]) -> list[str]:
    return everywhere if kind.startswith("pubsub.") else []


def require_honoured(components: Iterable[Component], env: Mapping[str, str]) -> None:
    """Raise SettingError, with each reason, for settings that cannot be honoured; log what is only to be told."""
    found = list(problems(components, read_known(FILE), env))
    for problem in found:
        if problem.warn:
            logger.warning("%s", problem)
    if refused := [str(problem) for problem in found if not problem.warn]:
        raise SettingError("\n".join(refused))


def problems(
    components: Iterable[Component], known: Mapping[str, Known], env: Mapping[str, str]
) -> Iterator[Problem]:
    """Yield what is wrong with the components' settings; a value that `env` does not have is not judged."""
    for component in components:
        if component.type in known:
            row = known[component.type]
            values = {**component.settings, **_from_environment(component, env)}
            for name in (*component.settings, *component.variables, *component.elsewhere):
                if name not in row.settings:
                    yield Problem(component.path, _unknown(name, component, row))
            for rule in row.rules:
                if (text := _fault(rule, component, values)) is not None:
                    yield Problem(component.path, text, rule.warn)


def is_true(text: str) -> bool:
    """Say whether Dapr takes a setting's text for true."""
    return _fits(_TRUTH[True], text)


def _unknown(name: str, component: Component, row: Known) -> str:
    if name in row.refused:
        return f"{component.type} has no setting {name!r}: {row.refused[name]}"
    lowered = {known.lower(): known for known in row.settings}
    close = difflib.get_close_matches(name.lower(), lowered, 1)
    mend = f"did you mean {lowered[close[0]]!r}?" if close else f"it has {', '.join(sorted(row.settings))}"
    return f"{component.type} has no setting {name!r}, and would ignore it: {mend}"


def _fault(rule: Rule, component: Component, values: Mapping[str, str]) -> str | None:
    unknown = (component.variables.keys() | component.elsewhere) - values.keys()
    applies = rule.not_for != component.name and all(
        other in unknown or _fits(pattern, values.get(other, "")) for other, pattern in rule.fitting.items()
    )
    value = values.get(rule.setting, None if rule.setting in unknown else rule.default)
    if not applies or value is None or _fits(rule.must, value):
        return None
    if (variable := component.variables.get(rule.setting)) is not None:
        # What it has may be a secret.
        return f"{rule.setting}, which is read from {variable}, does not do: {rule.because}"
    if rule.setting in values and _SECRET.search(rule.setting):
        return f"{rule.setting}, which is not shown here, does not do: {rule.because}"
    said = "is" if rule.setting in values else "is not set, which means"
    return f"{rule.setting} {said} {value!r}: {rule.because}"


def _from_environment(component: Component, env: Mapping[str, str]) -> dict[str, str]:
    return {setting: env[variable] for setting, variable in component.variables.items() if variable in env}


def _fits(pattern: str, value: str) -> bool:
    return re.fullmatch(pattern, value, re.IGNORECASE | re.DOTALL) is not None
