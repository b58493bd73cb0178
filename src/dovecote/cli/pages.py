"""Writes the pages that follow from data, from the folder of the checkout: `python -m dovecote.cli.pages`.

They are .env.example, from the settings, and the table in components/README.md, from capabilities.yaml.
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from dovecote.classes import CLASSES
from dovecote.settings import Settings

BEGIN, END = "<!-- table: written by `make pages` -->", "<!-- end of table -->"

# What is read by others than the apps' settings: by the launcher and by the command.
ELSEWHERE = {
    "DOVECOTE_GATEWAY": "address of the gateway that `dovecote ask` asks (default: the one of this checkout)",
    "DOVECOTE_PORT": "port of the gateway (default: one of a free block)",
    "DOVECOTE_DAPR_HOME": "folder with a Dapr runtime to use (default: found, downloaded or built)",
    "DOVECOTE_DAPR_MIRROR": "mirror of Dapr's release archives",
    "AZURE_SQL_SERVER": "of these four the launcher makes AZURE_SQL_CONNECTION_STRING",
    "AZURE_SQL_DATABASE": "a database that is there",
    "AZURE_SQL_USERNAME": "a login of it",
    "AZURE_SQL_PASSWORD": "its password",
    "AZURE_KEY_VAULT_URL": "of this, such as https://your-vault.vault.azure.net/, it makes AZURE_KEY_VAULT_NAME",
    "SSL_CERT_DIR": "folders of authorities that sidecars trust, where a component has no setting for one",
}
# Set for each app by whoever starts it, so of no use in a file for all.
_PER_APP = frozenset({"app_port", "dapr_http_port", "dapr_grpc_port"})


def env_example(components: Path) -> str:
    """The text of .env.example: every setting with its meaning and its default, and what components refer to."""
    lines = [
        "# Settings of the apps, each with its default; `make run` reads them from a file .env beside this one."
    ]
    for name, field in Settings.model_fields.items():
        if name not in _PER_APP:
            default = field.get_default()
            shown = "" if default is None else default
            lines += ["", f"# {_meaning(field)}", f"# {_variable(name, field)}={shown}"]
            lines += [f"# read as well, where that is not set: {other}" for other in _other_names(field)]
    lines += ["", "# Read by the launcher and the command."]
    for variable, meaning in ELSEWHERE.items():
        lines += ["", f"# {meaning}", f"# {variable}="]
    lines += ["", "# Referred to by components; the launcher sets those of what it starts itself."]
    lines += ["# A certificate and its key are given as PEM text, or as the path of a file."]
    for variable, users in sorted(secrets(components).items()):
        lines += ["", f"# {', '.join(users)}", f"# {variable}="]
    return "\n".join(lines) + "\n"


def secrets(components: Path) -> dict[str, list[str]]:
    """The variables that component files refer to, each with `<key> of <file>` for every key that does."""
    found: dict[str, dict[str, None]] = {}
    for path in sorted(components.glob("*/**/*.yaml")):
        for resource in yaml.safe_load_all(path.read_text()):
            for item in resource["spec"].get("metadata") or ():
                if "secretKeyRef" in item:
                    user = f"{item['name']} of {path.relative_to(components.parent)}"
                    found.setdefault(item["secretKeyRef"]["name"], {})[user] = None
    return {variable: list(users) for variable, users in found.items()}


def capability_table(capabilities: dict[str, dict[str, Any]]) -> str:
    """The rows of capabilities.yaml as a Markdown table."""
    columns = list(dict.fromkeys(key for row in capabilities.values() for key in row if key != "exceptions"))
    rows = [["component type", *(column.replace("_", " ") for column in columns)], ["---"] * (len(columns) + 1)]
    for name, row in capabilities.items():
        rows.append([f"`{name}`", *(_cell(row.get(column)) for column in columns)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def class_table() -> str:
    """The classes of message as a Markdown table."""
    rows = [["class", "component", "quality of service", "lanes", "retained", "topics"], ["---"] * 6]
    for one in CLASSES:
        topics = ", ".join(f"`{topic}`" for topic in one.topics)
        rows.append([one.name, f"`{one.component}`", str(one.qos), _cell(one.lanes), _cell(one.retained), topics])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def with_table(page: str, table: str, begin: str = BEGIN, end: str = END) -> str:
    """The page with the table between its two marks; ValueError if it has no marks."""
    before, rest = page.split(begin)
    after = rest.split(end)[1]
    return f"{before}{begin}\n{table}\n{end}{after}"


def with_classes(page: str) -> str:
    """The page with the table of classes between its two marks."""
    return with_table(page, class_table(), "<!-- classes: written by `make pages` -->", "<!-- end of classes -->")


def write_all(checkout: Path) -> None:
    """Write both pages."""
    components = checkout / "components"
    (checkout / ".env.example").write_text(env_example(components))
    table = capability_table(yaml.safe_load((components / "capabilities.yaml").read_text()))
    page = components / "README.md"
    page.write_text(with_classes(with_table(page.read_text(), table)))


def _variable(name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return str(alias or f"DOVECOTE_{name.upper()}")


def _other_names(field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    return [str(choice) for choice in alias.choices[1:]] if isinstance(alias, AliasChoices) else []


def _meaning(field: FieldInfo) -> str:
    return field.description or f"one of: {', '.join(getattr(field.annotation, '__args__', ()))}"


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value in (None, "") else f"`{value}`" if isinstance(value, str) else str(value)


if __name__ == "__main__":
    write_all(Path.cwd())
