"""Imports of messaging files, and what they wrote and said."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from deploy.local import settings
from deploy.local.components import Component, load_components
from dovecote.cli import main
from dovecote.cli.errors import CommandError

CHECKOUT = Path(__file__).resolve().parents[2]
KNOWN = settings.read_known(CHECKOUT / "components" / "settings.yaml")


class Imported:
    """What an import wrote and said."""

    def __init__(self, folder: Path, said: str) -> None:
        self.variables = dotenv_values(folder / ".env")
        self.components = {component.name: component for component in load_components([folder])}
        self.accounts = {row["key"]: (row["outcome"], row["text"]) for row in json.loads(said)["keys"]}
        self.values = {row["key"]: row["value"] for row in json.loads(said)["keys"]}
        # The launcher's own judgement of what was written.
        given = {name: str(value) for name, value in self.variables.items()}
        self.problems = [one for one in settings.problems(self.components.values(), KNOWN, given) if not one.warn]

    def outcome(self, key: str) -> str:
        return str(self.accounts[f"messaging.{key}"][0])

    def text(self, key: str) -> str:
        return str(self.accounts[f"messaging.{key}"][1])

    @property
    def pubsub(self) -> Component:
        return self.components["pubsub"]


class Importer:
    """Writes a messaging file into an empty folder, and imports it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.file = folder / "argentic.yaml"
        self.out = folder / "out"
        self._capsys = capsys

    def run(self, text: str, *options: str) -> str:
        self.file.write_text(text)
        with pytest.raises(SystemExit) as end:
            main(["import", str(self.file), "--out", str(self.out), *options])
        assert end.value.code == 0
        return self._capsys.readouterr().out

    def __call__(self, messaging: dict[str, Any], **sections: Any) -> Imported:
        said = self.run(yaml.safe_dump({"messaging": messaging, **sections}, sort_keys=False), "--json")
        return Imported(self.out, said)

    def refused(self, text: str | dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
        """What is said where nothing may be written."""
        self.file.write_text(text if isinstance(text, str) else yaml.safe_dump({"messaging": text}))
        status = main(["import", str(self.file), "--out", str(self.out)])
        assert status == CommandError.status
        assert not self.out.exists()
        return capsys.readouterr().err
