"""A real cluster for the tests: the one that KUBECONFIG names, else one that kind makes."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from deploy.local.helm import find_helm
from deploy.local.progress import Progress
from tests.k8s.commands import CHECKOUT, Namespace, run
from tests.k8s.release import Release
from tests.k8s.results import RESULTS


@pytest.fixture(scope="session")
def cluster() -> None:
    """A cluster that answers, with Dapr and, where it is kind's, the images."""
    os.environ["PATH"] = f"{find_helm(Progress()).parent}:{os.environ['PATH']}"
    if not os.environ.get("KUBECONFIG"):
        os.environ["KUBECONFIG"] = str(CHECKOUT / ".dovecote" / "kind.conf")
        run("deploy/kind/cluster.sh", seconds=1800)
    run("deploy/kind/dapr.sh", seconds=700)


@pytest.fixture(scope="module")
def release_on(cluster: None) -> Iterator[Callable[[str], Release]]:
    """Installs a release with a broker; it and its namespace are gone after the tests of the module."""
    with ExitStack() as stack:

        def install(broker: str) -> Release:
            release = stack.enter_context(released(broker))
            release.install()
            return release

        yield install


@contextmanager
def released(broker: str) -> Iterator[Release]:
    """A namespace of its own for a release, empty at first, and deleted with all that is in it."""
    namespace = Namespace(f"dovecote-{broker}-{int(time.time())}")
    namespace.create()
    try:
        yield Release(namespace, broker)
    finally:
        namespace.delete()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of what was measured."""
    if RESULTS.rows:
        terminalreporter.write(RESULTS.table())
