"""One real system for all end-to-end tests: daprd, Redis, placement, scheduler, every service.

Tests that are marked `container_engine` are run where there is an engine with the images that they need, and are
else told of at the end; with CI set that is a failure.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.errors import MissingServerError
from deploy.local.progress import Progress
from tests.support.images.debian import usable_engine
from tests.support.whole import Whole, whole

NOT_RUN = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "container_engine: needs a container engine with the images of all brokers")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    needing = [item for item in items if item.get_closest_marker("container_engine")]
    if not needing or config.option.collectonly:
        return
    try:
        with usable_engine(Progress()):
            pass
    except MissingServerError as error:
        config.stash[NOT_RUN] = f"{len(needing)} tests not run, {error}"
        items[:] = [item for item in items if item not in needing]
        config.hook.pytest_deselected(items=needing)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if NOT_RUN in session.config.stash and os.environ.get("CI") and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if NOT_RUN in config.stash:
        failed = ", which is a failure where CI is set" if os.environ.get("CI") else ""
        terminalreporter.write_line(f"containers: {config.stash[NOT_RUN]}{failed}")


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """The system, started once."""
    env = {"DOVECOTE_MODEL_WAIT": "2", "DOVECOTE_AGENT_WAIT": "2"}
    with whole(tmp_path_factory.mktemp("e2e"), env) as system:
        yield system


@pytest.fixture
def system(running: Whole) -> Whole:
    """The system, with a model that answers by the demonstration rules and has not been called."""
    running.model.set_script({})
    running.model.reset()
    return running


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A folder with one document that no other test has."""
    (tmp_path / "lamps.md").write_text(
        "# Harbour lamps\n\nThe northern lamp of Ostrava harbour burns 14 litres of oil a night.\n\n"
        "The southern lamp is electric.\n"
    )
    return tmp_path
