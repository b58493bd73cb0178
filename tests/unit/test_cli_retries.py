"""`dovecote retries`: what becomes of a retry policy of the reference documents."""

import difflib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from dovecote.cli import main
from dovecote.cli.checking import check_components
from dovecote.cli.errors import CommandError
from dovecote.cli.retries import RESILIENCY, RetryPolicy
from tests.support.checkout import ROOT, changeable_checkout

BEFORE = (ROOT / RESILIENCY).read_text()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = changeable_checkout(tmp_path / "checkout")
    (made / "deploy").symlink_to(ROOT / "deploy")
    monkeypatch.chdir(made)
    return made


def _policy(text: str) -> Any:
    return yaml.safe_load(text)["spec"]["policies"]["retries"]["inbound"]


@pytest.mark.parametrize(
    ("policy", "written"),
    [
        (RetryPolicy(3, 1, 2), {"policy": "exponential", "maxInterval": "2s", "maxRetries": 2}),
        (RetryPolicy(6, 0.25, 2), {"policy": "exponential", "maxInterval": "4s", "maxRetries": 5}),
        (RetryPolicy(100, 10, 100), {"policy": "exponential", "maxInterval": "900s", "maxRetries": 99}),
        (RetryPolicy(5, 1.5, 1), {"policy": "constant", "duration": "1.5s", "maxRetries": 4}),
        (RetryPolicy(1, 1, 1), {"policy": "constant", "duration": "1s", "maxRetries": 0}),
    ],
    ids=str,
)
def test_a_policy_takes_the_place_of_the_old_one_and_all_else_stays(
    policy: RetryPolicy, written: dict[str, Any]
) -> None:
    after = policy.written(BEFORE, "file")
    assert _policy(after) == written
    changed = [
        line[2:].strip() for line in difflib.ndiff(BEFORE.splitlines(), after.splitlines()) if line[0] in "+-"
    ]
    assert {line.partition(":")[0] for line in changed} <= {"policy", "maxInterval", "duration", "maxRetries"}


def test_what_else_the_policy_says_is_kept() -> None:
    matching = "maxRetries: 8\n        matching:\n          httpStatusCodes: '429'"
    after = RetryPolicy(3, 1, 1).written(BEFORE.replace("maxRetries: 8", matching), "file")
    assert _policy(after) == {
        "policy": "constant",
        "duration": "1s",
        "maxRetries": 2,
        "matching": {"httpStatusCodes": "429"},
    }


@pytest.mark.parametrize(
    ("policy", "outcomes"),
    [
        (RetryPolicy(30, 1, 2), ["mapped", "not settable", "not settable"]),
        (RetryPolicy(30, 0.5, 1.5), ["mapped", "as it is", "as it is"]),
        (RetryPolicy(30, 1, 1), ["mapped", "mapped", "mapped"]),
    ],
    ids=str,
)
def test_each_key_is_accounted_for(policy: RetryPolicy, outcomes: list[str]) -> None:
    accounts = [*policy.accounts(9)]
    assert [account.key for account in accounts] == ["max_attempts", "initial_delay", "backoff_multiplier"]
    assert [account.outcome for account in accounts] == outcomes


def test_pauses_are_those_of_dapr_and_not_those_that_cannot_be_had() -> None:
    assert [*RetryPolicy(5, 1, 1.2).pauses()] == [0.5, 0.75, 1.125, 1.6875]
    assert [*RetryPolicy(4, 0.5, 1.25).pauses()] == [0.5, 0.75, 0.78125]
    assert [*RetryPolicy(3, 2, 1).pauses()] == [2, 2]
    assert [*RetryPolicy(1, 2, 2).pauses()] == []


def test_a_policy_that_gives_up_before_an_app_is_known_to_be_away_says_so() -> None:
    short, long, endless = (
        next(RetryPolicy(*policy).accounts(9)).text for policy in ((9, 1, 1), (10, 1, 1), (99, 9, 2))
    )
    assert "An app that is away is noticed after 9 s" in short
    assert "away" not in long
    assert "of which Dapr takes 900" in endless


@pytest.mark.promise("AOS-10")
def test_the_file_of_the_checkout_is_changed_and_still_fits(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads(_run(capsys, "--max-attempts=3", "--initial-delay=1", "--backoff-multiplier=2", "--json"))
    assert report["files"] == [str(checkout / RESILIENCY)]
    assert {row["key"]: row["outcome"] for row in report["keys"]} == {
        "max_attempts": "mapped",
        "initial_delay": "not settable",
        "backoff_multiplier": "not settable",
    }
    assert _policy((checkout / RESILIENCY).read_text())["maxRetries"] == 2
    checks = {check.name: check for check in check_components(checkout)}
    assert checks[str(RESILIENCY)].ok


@pytest.mark.usefixtures("checkout")
def test_another_file_is_made_after_the_checkouts_or_changed_if_it_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "resiliency.yaml"
    said = _run(capsys, "--max-attempts=3", "--initial-delay=1", "--backoff-multiplier=1", f"--out={out}")
    assert "duration: 1s" in said
    assert said.endswith("It counts from the next start of the sidecars.\n")
    assert f"Written: {out}" in said
    out.write_text(out.read_text().replace("name: dovecote", "name: mine"))
    _run(capsys, "--max-attempts=4", "--initial-delay=1", "--backoff-multiplier=1", f"--out={out}")
    assert yaml.safe_load(out.read_text())["metadata"]["name"] == "mine"
    assert _policy(out.read_text())["maxRetries"] == 3
    assert (ROOT / RESILIENCY).read_text() == BEFORE


@pytest.mark.parametrize(
    "text",
    ["", "a: [", "spec: 1", BEFORE.replace("inbound:", "other:"), BEFORE.replace("inbound:\n", "inbound: {}\n")],
)
def test_what_is_no_resiliency_is_refused_and_named(text: str) -> None:
    with pytest.raises(CommandError, match=r"^file: no Resiliency"):
        RetryPolicy(3, 1, 2).written(text, "file")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("option", ["--initial-delay", "--backoff-multiplier"])
def test_what_is_no_finite_number_is_refused_and_named(
    checkout: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    options = {"--max-attempts": "3", "--initial-delay": "1", "--backoff-multiplier": "1", option: value}
    with pytest.raises(SystemExit) as end:
        main(["retries", *(f"{name}={text}" for name, text in options.items())])
    assert end.value.code == 2
    assert f"Invalid value for '{option}': Input should be" in capsys.readouterr().err
    assert (checkout / RESILIENCY).read_text() == BEFORE


def _run(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(["retries", *options])
    assert end.value.code == 0
    return capsys.readouterr().out
