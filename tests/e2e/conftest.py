"""One real system for all end-to-end tests: daprd, Redis, placement, scheduler, every service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.whole import Whole, whole


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
