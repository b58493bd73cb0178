"""One real system for all end-to-end tests: daprd, Redis, placement, scheduler, every service.

Tests that are marked `container_engine` are run where an engine answers, and are else told of at the end.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.containers import engine_answers
from tests.support.whole import Whole, whole

NOT_RUN = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "container_engine: needs a container engine that answers")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    needing = [item for item in items if item.get_closest_marker("container_engine")]
    if needing and not config.option.collectonly and not engine_answers():
        config.stash[NOT_RUN] = len(needing)
        items[:] = [item for item in items if item not in needing]
        config.hook.pytest_deselected(items=needing)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if NOT_RUN in config.stash:
        terminalreporter.write_line(
            f"containers: {config.stash[NOT_RUN]} of the tests not run, no container engine answers"
        )


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
