"""One real system for all end-to-end tests: daprd, Redis, placement, scheduler, every service.

Tests that are marked `container_engine` are run where there is an engine with the image that they need, those that
are marked `own_engine` where one can be started, and are else told of at the end; with CI set that is a failure.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy.local.errors import MissingServerError
from deploy.local.progress import Progress
from tests.support.engine import own_engine_lacking
from tests.support.images.debian import UsableEngine, usable_engine
from tests.support.images.system import make_images
from tests.support.whole import Whole, whole

ENGINE = pytest.StashKey[tuple[UsableEngine, ExitStack]]()
TROUBLES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TROUBLES] = []
    config.addinivalue_line("markers", "container_engine(image): needs a container engine that has the image")
    config.addinivalue_line("markers", "own_engine: needs a container engine of the tests' own")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.collectonly:
        return
    _drop_without_own_engine(config, items)
    needing = {item: mark.args[0] for item in items if (mark := item.get_closest_marker("container_engine"))}
    if not needing:
        return
    running = ExitStack()
    try:
        engine = running.enter_context(usable_engine(Progress()))
    except MissingServerError as error:
        reasons = dict.fromkeys(needing.values(), str(error))
    else:
        reasons = dict(engine.lacking)
        config.stash[ENGINE] = engine, running
    dropped = {item: reasons[image] for item, image in needing.items() if image in reasons}
    config.stash[TROUBLES] += [f"{count} tests not run, {why}" for why, count in Counter(dropped.values()).items()]
    # Those that are run come first, so that the engine is gone, and free for others, while all the others run.
    items[:] = sorted((item for item in items if item not in dropped), key=lambda item: item not in needing)
    config.hook.pytest_deselected(items=[*dropped])


def _drop_without_own_engine(config: pytest.Config, items: list[pytest.Item]) -> None:
    dropped = [item for item in items if item.get_closest_marker("own_engine")]
    if dropped and (why := own_engine_lacking()):
        config.stash[TROUBLES].append(f"{len(dropped)} tests not run, {why}")
        items[:] = [item for item in items if item not in dropped]
        config.hook.pytest_deselected(items=dropped)


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if ENGINE in config.stash:
        try:
            config.stash[ENGINE][1].close()
        except MissingServerError as error:
            config.stash[TROUBLES].append(str(error))
    if config.stash[TROUBLES] and os.environ.get("CI") and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    failed = ", which is a failure where CI is set" if os.environ.get("CI") else ""
    for trouble in config.stash[TROUBLES]:
        terminalreporter.write_line(f"containers: {trouble}{failed}")


@pytest.fixture(scope="module")
def images(request: pytest.FixtureRequest) -> Iterator[None]:
    """The engine that was found for this run, at DOCKER_HOST; it ends with the module."""
    engine, running = request.config.stash[ENGINE]
    with running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", engine.address)
        yield


@pytest.fixture(scope="session")
def service_images() -> Mapping[str, str]:
    """All images of the whole set, for an engine of the tests' own; the variables by which compose takes them."""
    return make_images(Progress())


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
