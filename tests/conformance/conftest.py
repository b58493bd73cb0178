"""One fleet for each transport, and what is told of it at the end."""

import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from dovecote import Message, MessageType
from tests.conformance.apps.receiver import TROUBLE
from tests.conformance.behaviours import key_of, transports
from tests.conformance.fleet import Fleet
from tests.conformance.launched import launched_fleet
from tests.conformance.memory import memory_fleet
from tests.conformance.table import Cell, render, told
from tests.support.brokers import BrokerNotRunError, BrokerSetup, address_variables, broker_setup

TRANSPORTS = transports()
HERE = Path(__file__).parent


@dataclass
class Run:
    """What this run has of the brokers: how each was come by, or why it was not.

    `left_out` counts the tests that would restart a broker which somebody else runs.
    """

    setups: dict[str, BrokerSetup] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    open: ExitStack = field(default_factory=ExitStack)

    @property
    def incomplete(self) -> bool:
        """Whether something that was asked for did not run."""
        return bool(self.missing or self.left_out)


RUN = pytest.StashKey[Run]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--broker", choices=sorted(TRANSPORTS), help="run over this transport only")
    parser.addoption("--outage", type=float, default=0, metavar="SECONDS", help="how long one lasts at least")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    run = config.stash[RUN] = Run()
    only = config.getoption("--broker", None)
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        transport = _transport(item)
        if transport is None:
            kept.append(item)
            continue
        item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
        item.add_marker(pytest.mark.timeout(600, func_only=True))
        item.user_properties.append(("conformance", (_behaviour(item), transport)))
        wanted = only is None or transport == only
        to_be_had = config.option.collectonly or (wanted and _to_be_had(run, transport, item, config))
        (kept if wanted and to_be_had else dropped).append(item)
    items[:] = kept
    if dropped:
        config.hook.pytest_deselected(items=dropped)


def pytest_unconfigure(config: pytest.Config) -> None:
    if RUN in config.stash:
        config.stash[RUN].open.close()


def pytest_sessionfinish(session: pytest.Session) -> None:
    run = session.config.stash.get(RUN, None)
    if run and run.incomplete and os.environ.get("CI") and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    run = config.stash.get(RUN, None)
    cells = _cells(terminalreporter)
    if run is None or not (cells or run.incomplete):
        return
    terminalreporter.section("conformance")
    terminalreporter.write_line(render(TRANSPORTS, cells))
    origins = {name: setup.origin for name, setup in run.setups.items()}
    for line in told(origins, run.missing, run.left_out, must_run=bool(os.environ.get("CI"))):
        terminalreporter.write_line(line)


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=TRANSPORTS)
async def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """The fleet of one transport, started once."""
    name = request.param
    if name == "memory":
        made = memory_fleet()
    else:
        setup = request.config.stash[RUN].setups[name]
        made = launched_fleet(TRANSPORTS[name], setup, tmp_path_factory.mktemp(name))
    async with made as fleet:
        yield fleet


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def hopeless(running: Fleet) -> Message:
    """A message at which alpha fails each time. All tries take half a minute, so they begin with the first test."""
    await running.settled()
    message = Message(type=MessageType.EVENT, sender="tests", content="hopeless")
    running.log.fail(message, "UnavailableError", "never")
    await running.publish(message, topic=TROUBLE)
    return message


@pytest_asyncio.fixture(loop_scope="session")
async def fleet(running: Fleet, hopeless: Message) -> Fleet:
    """The fleet, with everything running."""
    await running.ready()
    return running


@pytest.fixture
def exception(request: pytest.FixtureRequest, running: Fleet) -> str | None:
    """The reason why the broker does not behave as the test says; None where it does."""
    return running.broker.exceptions.get(_behaviour(request.node))


def _transport(item: pytest.Item) -> str | None:
    if not item.path.is_relative_to(HERE) or not isinstance(item, pytest.Function):
        return None
    return str(item.callspec.params["running"]) if hasattr(item, "callspec") else None


def _behaviour(item: pytest.Item) -> str:
    assert isinstance(item, pytest.Function)
    return key_of(item.originalname)


def _to_be_had(run: Run, transport: str, item: pytest.Item, config: pytest.Config) -> bool:
    if transport == "memory":
        return True
    if transport not in run.setups and transport not in run.missing:
        folder = config.rootpath / ".dovecote" / "conformance" / transport
        try:
            run.setups[transport] = run.open.enter_context(broker_setup(transport, folder))
        except BrokerNotRunError as error:
            run.missing[transport] = str(error)
    if transport in run.missing:
        return False
    given = any(variable in os.environ for variable in address_variables(transport))
    if given and item.get_closest_marker("restarts_broker"):
        run.left_out[transport] += 1
        return False
    return True


def _cells(reporter: pytest.TerminalReporter) -> dict[tuple[str, str], Cell]:
    """How each behaviour fared over each transport."""
    cells: dict[tuple[str, str], Cell] = {}
    for outcome in ("passed", "failed", "error"):
        for report in reporter.getreports(outcome):
            # A report of collecting has no such properties.
            key = dict(getattr(report, "user_properties", ())).get("conformance")
            if key is not None:
                cells[key] = "pass" if outcome == "passed" and cells.get(key, "pass") == "pass" else "FAIL"
    return cells
