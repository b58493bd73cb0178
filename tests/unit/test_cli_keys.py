"""Keys that `dovecote keys` makes are such as apps take."""

import json
from io import StringIO

import pytest
from dotenv import dotenv_values
from typer.testing import CliRunner

from dovecote import App
from dovecote.cli.commands import app as command
from dovecote.cli.errors import CommandError
from dovecote.cli.keys import new_lines
from dovecote.settings import Settings
from dovecote.testing import Network


def _variables(lines: list[str]) -> dict[str, str]:
    found = dotenv_values(stream=StringIO("\n".join(lines)))
    return {name: value or "" for name, value in found.items()}


async def test_apps_start_with_the_keys_and_with_newer_ones_beside_them() -> None:
    first = _variables(new_lines(["ann", "bob-2"], "1", {}))
    second = _variables(new_lines(["ann", "bob-2"], "2", first))
    for secrets in (first, second, second | {"SIGNING_KEY_ANN": first["SIGNING_KEY_ANN"]}):
        async with Network([App("ann"), App("bob-2")], settings=Settings(signatures="require"), secrets=secrets):
            pass
    kids = {
        name: [key["kid"] for key in json.loads(second[name])["keys"]] for name in second if name.endswith("KEYS")
    }
    assert kids == {"SIGNING_KEYS": ["ann-1", "bob-2-1", "ann-2", "bob-2-2"], "ENCRYPTION_KEYS": ["1", "2"]}


def test_no_key_is_made_twice_and_what_are_no_keys_is_told() -> None:
    first = _variables(new_lines(["ann"], "1", {}))
    with pytest.raises(CommandError, match="SIGNING_KEYS has keys of that id already: ann-1, ann-1"):
        new_lines(["ann"], "1", first)
    with pytest.raises(CommandError, match="ENCRYPTION_KEYS holds no JSON Web Key Set"):
        new_lines(["ann"], "2", {"ENCRYPTION_KEYS": "word"})


def test_the_command_makes_a_key_for_each_app_of_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SIGNING_KEYS", "ENCRYPTION_KEYS"):
        monkeypatch.setenv(name, "")
    done = CliRunner().invoke(command, ["keys", "--id", "9"])
    assert done.exit_code == 0, done.output
    assert {"SIGNING_KEY_RESEARCHER", "SIGNING_KEY_GATEWAY"} < _variables(done.stdout.splitlines()).keys()
    assert "# DOVECOTE_ENCRYPTION_KEY=9" in done.stdout
