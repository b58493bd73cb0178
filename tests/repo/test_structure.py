"""The shape of the repository: lists that agree, files that stay small, names that stay where they belong."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deploy.local.runfile import load_run_file

CHECKOUT = Path(__file__).resolve().parents[2]
# Programs of their own, and no apps of the run file: one stands in for a model, one is a part of sidecars.
NOT_APPS = {"demo_model", "zeromq_pubsub"}
GENERATED = "services/zeromq_pubsub/proto/"
# A component for one broker names it.
BROKER_FOLDERS = ("services/zeromq_pubsub/", "src/dovecote/adapters/")
LONGEST = 400


def _files(*suffixes: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [CHECKOUT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and (not suffixes or path.suffix in suffixes)]


def _name(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


def _service_folders() -> dict[str, str]:
    """App-id and module of each service that has a main.py."""
    mains = [path for path in (CHECKOUT / "services").rglob("main.py") if path.parent.name not in NOT_APPS]
    return {path.parent.name: ".".join(path.relative_to(CHECKOUT).with_suffix("").parts) for path in mains}


def test_every_service_is_an_app_of_the_run_file_and_none_is_missing() -> None:
    apps = {app.app_id: app.command[-1] for app in load_run_file(CHECKOUT / "dapr.yaml").apps}
    assert apps == _service_folders()


@pytest.mark.parametrize("name", sorted(_service_folders()))
def test_a_services_folder_is_its_app_id(name: str) -> None:
    module = importlib.import_module(_service_folders()[name])
    assert module.app.title == name
    assert module.app.description or module.__doc__


@pytest.mark.parametrize("name", sorted(_service_folders()))
def test_a_services_main_says_what_it_is_in_forty_lines_of_code(name: str) -> None:
    path = CHECKOUT / (_service_folders()[name].replace(".", "/") + ".py")
    said = re.compile(r'\s*($|#|""")')
    code = [line for line in path.read_text().splitlines() if not said.match(line)]
    assert len(code) <= 40, f"{_name(path)} has {len(code)} lines of code"


def test_each_broker_folder_defines_the_same_components() -> None:
    for role, components in {
        "pubsub": ["news", "pubsub", "urgent"],
        "llm": ["llm"],
        "state": ["claims", "statestore"],
    }.items():
        names = {
            folder.name: sorted(
                (row["kind"], row["metadata"]["name"])
                for file in folder.glob("*.yaml")
                for row in yaml.safe_load_all(file.read_text())
                if row["kind"] == "Component"
            )
            for folder in (CHECKOUT / "components" / role).iterdir()
            if folder.is_dir()
        }
        wanted = [("Component", name) for name in components]
        assert {folder: found for folder, found in names.items() if found != wanted} == {}


def test_each_broker_has_its_row_of_what_it_can_do() -> None:
    rows = yaml.safe_load((CHECKOUT / "components/capabilities.yaml").read_text())
    for file in (CHECKOUT / "components/pubsub").glob("*/*.yaml"):
        for row in yaml.safe_load_all(file.read_text()):
            if row["kind"] == "Component":
                assert row["spec"]["type"] in rows, f"{_name(file)}: no row for {row['spec']['type']!r}"
                assert rows[row["spec"]["type"]]["broker"] == file.parent.name.removesuffix("-tls")


def _brokers() -> list[str]:
    rows = yaml.safe_load((CHECKOUT / "components/capabilities.yaml").read_text())
    known = ["redis", "mqtt", "mosquitto", "kafka", "rabbitmq", "servicebus", "zeromq", "zmq", "valkey"]
    return sorted({*known, *(row["broker"] for row in rows.values())})


@pytest.mark.promise("ARG-01")
def test_no_python_of_library_or_services_names_a_broker() -> None:
    named = re.compile("|".join(map(re.escape, _brokers())), re.IGNORECASE)
    found = [
        f"{_name(path)}:{number}: {line.strip()}"
        for path in _files(".py")
        if _name(path).startswith(("src/", "services/")) and not _name(path).startswith(BROKER_FOLDERS)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if named.search(line)
    ]
    assert found == []


def test_no_file_is_longer_than_it_may_be() -> None:
    lengths = {
        _name(path): len(path.read_text().splitlines()) for path in _files(".py", ".pyi", ".md", ".yaml", ".toml")
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_every_check_that_is_ignored_says_why() -> None:
    marks = re.compile(r"#\s*(noqa|type:\s*ignore|pragma: no cover)")
    said = re.compile(r"#\s+noqa: [A-Z0-9]+(, [A-Z0-9]+)* - \S")
    silent = [
        f"{_name(path)}:{number}: {line.strip()}"
        for path in _files(".py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if marks.search(line) and not said.search(line)
    ]
    assert silent == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    empty = {"utils", "util", "helpers", "helper", "common", "base", "manager", "service", "misc"}
    assert [_name(path) for path in _files(".py") if path.stem in empty or path.parent.name in empty] == []


def _without_docstring(tree: ast.Module) -> Iterator[str]:
    """Public classes, functions and methods that say nothing of themselves."""
    if not ast.get_docstring(tree) and tree.body:
        yield "the module"
    scopes: list[tuple[str, list[ast.stmt]]] = [("", tree.body)]
    while scopes:
        prefix, body = scopes.pop()
        for node in body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name.startswith("_") or any("overload" in ast.unparse(mark) for mark in node.decorator_list):
                continue
            if not ast.get_docstring(node):
                yield f"{prefix}{node.name}"
            if isinstance(node, ast.ClassDef):
                scopes.append((f"{prefix}{node.name}.", node.body))


def test_every_public_name_says_what_it_is() -> None:
    silent = [
        f"{_name(path)}: {name}"
        for path in _files(".py")
        if _name(path).startswith(("src/", "services/", "deploy/")) and not _name(path).startswith(GENERATED)
        for name in _without_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_no_file_names_a_path_of_one_machine() -> None:
    roots = ("work", "root", "Users", "home/[a-z]+")
    path_of_a_machine = re.compile(rf"(?<![\w.$}}~-])/(?:{'|'.join(roots)})/[\w.]")
    found = [
        f"{_name(path)}:{number}: {line.strip()[:100]}"
        for path in _files()
        if b"\0" not in path.read_bytes()[:1000]
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if path_of_a_machine.search(line)
    ]
    assert found == []


def test_no_test_is_skipped_or_expected_to_fail() -> None:
    marks = re.compile(r"pytest\.(mark\.)?(skip|xfail|importorskip)|unittest\.skip")
    found = [
        _name(path)
        for path in _files(".py")
        if _name(path).startswith("tests/") and path != Path(__file__) and marks.search(path.read_text())
    ]
    assert found == []


def test_imports_go_one_way() -> None:
    # In a process of its own, since it silences every logger that there is.
    command = [
        str(Path(sys.executable).with_name("lint-imports")),
        "--no-cache",
        "--config",
        "tests/repo/importlinter.toml",
    ]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
