"""A go command that builds ready programs, notes how it was called, and fails or hangs where it is told to."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from deploy.local.versions import CLI, SOURCE_VERSION
from tests.support.fake_dapr import write_dapr


class Call(NamedTuple):
    """One call of the command."""

    arguments: list[str]
    environment: dict[str, str]


@dataclass
class FakeGo:
    """The command, told by `plan` what to do; `folder` is the one that is on the PATH."""

    folder: Path
    version: str = "go1.26.8"
    fail: dict[str, str] = field(default_factory=dict)
    hang: dict[str, str] = field(default_factory=dict)

    def write(self) -> "FakeGo":
        """Put the command, with its present plan, into its folder."""
        data = self.folder / "go-data"
        write_dapr(data / "programs", SOURCE_VERSION, cli=CLI.preferred)
        plan = {"version": self.version, "fail": self.fail, "hang": self.hang}
        (data / "plan.json").write_text(json.dumps(plan))
        command = self.folder / "go"
        script = Path(__file__).with_name("fake_go_command.py")
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{script}" "{data}" "$@"\n')
        command.chmod(0o755)
        return self

    def calls(self, verb: str) -> list[Call]:
        """Every call of `go <verb>` so far."""
        journal = self.folder / "go-data" / "journal"
        lines = journal.read_text().splitlines() if journal.exists() else []
        return [call for call in (Call(**json.loads(line)) for line in lines) if call.arguments[0] == verb]

    def built(self) -> list[str]:
        """The programs whose build was begun, in order."""
        return [Path(call.arguments[-2]).name for call in self.calls("build")]
