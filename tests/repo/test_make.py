"""The Makefile: what a user types reaches the command, and a bare machine gets what it needs."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parents[2]
LOCK = (CHECKOUT / "requirements.lock").read_text()
STAND_IN = CHECKOUT / "tests" / "support" / "servicebus"
OF_IMAGES = sorted((CHECKOUT / "deploy" / "docker" / "locks").glob("*.lock"))
LOCKS = [
    LOCK,
    *((STAND_IN / f"{name}.lock").read_text() for name in ("build", "requirements")),
    *(path.read_text() for path in (*OF_IMAGES, CHECKOUT / "deploy" / "docker" / "sbom.lock")),
]

FAKE_COMMAND = """#!/bin/sh
for argument in "$@"; do printf '<%s>\\n' "$argument"; done
"""
# Python, and by the same file pip and uv: notes each call, and fails where a file says so.
FAKE_PYTHON = """#!/bin/sh
here={folder}
echo "$(basename "$0") $*" >> $here/journal
[ -e $here/fail-"$(basename "$0")" ] && exit 1
case "$*" in
  --version) echo Python 3.9.1;;
  "-c import sys"*) [ ! -e $here/old ];;
  "-m venv "*) for last; do :; done; mkdir -p "$last/bin" && cp "$0" "$last/bin/python";;
  *"install --quiet uv") [ ! -e $here/no-uv ] && cp "$0" $here/venv/bin/uv;;
esac
"""


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=CHECKOUT,
        env=env | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def fake(tmp_path: Path) -> list[str]:
    """Arguments for make with which `dovecote` prints its arguments, and all is installed."""
    command = tmp_path / "dovecote"
    command.write_text(FAKE_COMMAND)
    command.chmod(0o755)
    (tmp_path / "stamp").touch()
    return [f"BIN={tmp_path}", f"STAMP={tmp_path / 'stamp'}"]


QUESTIONS = [
    'What is "it\'s" in 100% of $HOME?',
    r"a \n b \\ c",
    "$(shell touch /tmp/never) ${x} $$ $(x",
    "`id` #c; echo x && y | z",
    "--help",
    "Wie weit ist es bis Bräunlingen?",
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_reaches_the_command_as_it_was_typed(fake: list[str], question: str) -> None:
    asked = make("ask", *fake, f"Q={question}", "DOCS=a b/$x")
    assert asked.stdout == f"<ask>\n<--docs=a b/$x>\n<-->\n<{question}>\n", asked.stderr
    started = make("run", *fake, f"Q={question}")
    assert started.stdout == f"<up>\n<--question={question}>\n", started.stderr


def test_a_question_may_come_from_the_environment(fake: list[str]) -> None:
    assert make("ask", *fake, Q='"$x" $(y').stdout == '<ask>\n<-->\n<"$x" $(y>\n'


def test_the_choices_of_a_run_reach_the_command(fake: list[str]) -> None:
    chosen = make("run", *fake, "BROKER=redis", "LLM=openai", "ONCE=1")
    assert chosen.stdout == "<up>\n<--broker=redis>\n<--llm=openai>\n<--once>\n"
    assert make("run", *fake).stdout == "<up>\n"


def test_the_list_of_targets_names_each_with_what_it_does() -> None:
    listed = make().stdout
    targets = re.search(r"^\.PHONY: (.*)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    for target in targets[1].split():
        assert re.search(rf"^  make {target} +\S", listed, re.MULTILINE), f"make {target} is not listed"


@pytest.fixture
def bare(tmp_path: Path) -> list[str]:
    """Arguments for make on a machine that has only Python; its calls are noted in a journal."""
    python = tmp_path / "python3"
    python.write_text(FAKE_PYTHON.format(folder=tmp_path))
    python.chmod(0o755)
    return ["setup", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}", "UV="]


def journal(folder: Path) -> list[str]:
    """The calls since the last look."""
    path = folder / "journal"
    calls = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return calls


def test_a_bare_machine_gets_the_locked_dependencies_once(bare: list[str], tmp_path: Path) -> None:
    first = make(*bare)
    assert first.returncode == 0, first.stderr
    calls = journal(tmp_path)
    venv, uv = tmp_path / "venv", "uv pip"
    assert f"python3 -m venv --without-pip {venv}" in calls
    assert calls[-2:] == [
        f"{uv} sync --quiet --python {venv}/bin/python --require-hashes requirements.lock",
        f"{uv} install --quiet --python {venv}/bin/python --no-deps --no-build-isolation --editable .",
    ]
    assert make(*bare).returncode == 0
    assert journal(tmp_path) == []


def test_a_changed_lock_is_installed_into_what_is_there(bare: list[str], tmp_path: Path) -> None:
    make(*bare)
    journal(tmp_path)
    assert make(*bare, "--what-if=requirements.lock").returncode == 0
    calls = journal(tmp_path)
    assert not [call for call in calls if "venv --without-pip" in call]
    assert [call for call in calls if "uv pip sync" in call]


def test_an_installation_that_was_cut_off_is_started_over(bare: list[str], tmp_path: Path) -> None:
    (tmp_path / "fail-uv").touch()
    assert make(*bare).returncode != 0
    (tmp_path / "fail-uv").unlink()
    half = tmp_path / "venv" / "half"
    half.touch()
    mended = make(*bare)
    assert mended.returncode == 0, mended.stderr
    assert not half.exists()
    assert (tmp_path / "venv" / ".installed").exists()


def test_pip_installs_with_hashes_where_uv_cannot_be_had(bare: list[str], tmp_path: Path) -> None:
    (tmp_path / "no-uv").touch()
    result = make(*bare)
    assert result.returncode == 0, result.stderr
    assert "uv cannot be had" in result.stdout
    assert [call for call in journal(tmp_path) if "install --quiet --require-hashes --requirement" in call]


def test_an_old_python_is_refused_by_its_version(bare: list[str], tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    result = make(*bare)
    assert result.returncode != 0
    assert "Python 3.11 or later is needed, and" in result.stderr
    assert "Python 3.9.1" in result.stderr
    assert "make PYTHON=python3.12" in result.stderr
    assert not (tmp_path / "venv").exists()


def commands(target: str, fake: list[str]) -> str:
    return make("--dry-run", target, *fake).stdout


def test_make_test_is_lint_format_types_and_all_tests_in_the_end(fake: list[str]) -> None:
    text = commands("test", fake)
    steps = ["/ruff check --quiet .", "/ruff format --quiet --check .", "/mypy\n", "/pytest\n"]
    places = [text.index(step) for step in steps]
    assert places == sorted(places)
    assert text.endswith("/pytest\n")


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("lint", "/ruff check --quiet ."),
        ("unit", "/pytest tests/unit"),
        ("e2e", "/pytest tests/e2e"),
        ("conformance", "/pytest tests/conformance"),
        ("fuzz", "/pytest tests/unit/test_malformed_deliveries.py --malformed-events=100000"),
        ("promises", "/python -m tests.support.promises"),
        ("bench", "/python -m bench"),
    ],
)
def test_the_parts_of_the_tests_run_by_themselves(target: str, command: str, fake: list[str]) -> None:
    assert command in commands(target, fake)


def test_continuous_integration_runs_what_the_readme_says() -> None:
    script = CHECKOUT / ".ci" / "run"
    lines = [line.partition(" #")[0] for line in script.read_text().splitlines()]
    done = [line for line in lines if not line.startswith(("#", "echo", "set", "cd"))]
    assert done == ['export CI="${CI:-true}"', "make test"]
    assert os.access(script, os.X_OK)


def test_the_locks_pin_every_dependency_with_hashes() -> None:
    for block in (block for lock in LOCKS for block in re.split(r"\n(?=\S)", lock.strip())):
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==\S+", block), block
        assert "--hash=sha256:" in block, block


def test_the_locks_name_no_index_and_no_host() -> None:
    for lock in LOCKS:
        assert not re.search(r"://|--(extra-)?index|--find-links|@", lock)


def test_the_lock_fits_what_the_project_asks_for() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    locked = {canonicalize_name(found[0]): found[1] for found in re.findall(r"(?m)^([\w.-]+)==(\S+)", LOCK)}
    asked = [*project["dependencies"], *(row for rows in project["optional-dependencies"].values() for row in rows)]
    for requirement in map(Requirement, asked):
        name = canonicalize_name(requirement.name)
        if name != project["name"]:
            assert requirement.specifier.contains(locked.get(name, "0")), f"{requirement}: make lock"


def test_images_get_the_versions_that_are_tested() -> None:
    pinned = re.compile(r"(?m)^([\w.-]+)(?:\[.*?\])?==(\S+)")
    tested = set(pinned.findall(LOCK))
    for path in OF_IMAGES:
        assert set(pinned.findall(path.read_text())) <= tested, f"{path.name}: make lock"
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    library = {name for name, _ in pinned.findall((OF_IMAGES[0].parent / "library.lock").read_text())}
    assert {canonicalize_name(Requirement(row).name) for row in project["dependencies"]} <= library, "make lock"


def test_the_choices_of_images_reach_the_builder(fake: list[str]) -> None:
    text = make(
        "--dry-run", "images", *fake, "SERVICE=writer", "REGISTRY=x", "TAG=7", "SAVE=f", "BASE_IMAGE=b"
    ).stdout
    assert '-m deploy.docker writer --registry="x" --tag="7"' in text
    assert '--base-image="b" --save="f" --options="$MAKE_BUILD"' in text


def test_every_dependency_has_its_reason_in_the_decisions() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(row for rows in project["optional-dependencies"].values() for row in rows)]
    reasons = (CHECKOUT / "DECISIONS.md").read_text().partition("# Dependencies")[2]
    names = {Requirement(row).name for row in asked} - {project["name"]}
    assert {name for name in names if f"**{name}**" not in reasons} == set()
