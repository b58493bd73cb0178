"""The services' images: each is built as `make images` does, and started as it is deployed."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from deploy.docker import images
from deploy.local.progress import Progress
from tests.support.engine import engine, own_engine
from tests.support.images.system import PYTHON
from tests.support.waiting import wait_until

# The first time on a machine everything is made.
pytestmark = [pytest.mark.timeout(1200), pytest.mark.own_engine]

MOST = 200_000_000  # bytes beyond the base
SECOND = 1_000_000_000  # nanoseconds
FAILING = "test ! -e /usr/bin/gcc && test ! -e /usr/bin/cc && ! python3 -m pip && ! python3 -m ensurepip"


@pytest.fixture(scope="module")
def client(service_images: Mapping[str, str]) -> Iterator[Any]:
    with own_engine(Progress(), networks=True) as own, engine(own.address) as found:
        yield found


@pytest.fixture(scope="module")
def started(client: Any) -> Iterator[Mapping[str, Any]]:
    """A container of each image, as deployed: nothing may be written but /data and /tmp."""
    running: dict[str, Any] = {}
    try:
        for name in images.names():
            running[name] = client.containers.run(
                images.full_name(name),
                detach=True,
                read_only=True,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges:true"],
                tmpfs={"/tmp": "", "/data": "uid=65532,gid=65532,mode=0700"},
                network_mode="none",
                healthcheck={"interval": 2 * SECOND},
            )
        yield running
    finally:
        for container in running.values():
            container.remove(force=True)


def healthy(container: Any) -> bool:
    container.reload()
    assert container.status == "running", container.logs().decode()[-2000:]
    return bool(container.attrs["State"]["Health"]["Status"] == "healthy")


@pytest.mark.parametrize("name", images.names())
def test_an_image_starts_as_nobody_with_a_root_that_is_read_only_and_is_healthy(
    name: str, started: Mapping[str, Any]
) -> None:
    container = started[name]
    wait_until(lambda: healthy(container), f"the health of {name}", 90, interval=0.5)
    assert container.exec_run("id").output.decode().startswith("uid=65532 gid=65532")
    assert container.exec_run(["touch", "/app/x"]).exit_code == 1
    assert container.exec_run(["touch", "/data/x", "/tmp/x"]).exit_code == 0


@pytest.mark.parametrize("name", images.names())
def test_an_image_is_small_and_says_what_is_in_it(name: str, client: Any) -> None:
    image = client.images.get(images.full_name(name))
    size = image.attrs["Size"] - client.images.get(PYTHON.name).attrs["Size"]
    assert size < MOST, f"{size / 1e6:.0f} MB beyond the base"
    labels = image.labels
    assert labels["org.opencontainers.image.title"] == f"dovecote/{name}"
    assert labels["org.opencontainers.image.version"] == images.version()
    assert re.fullmatch("[0-9a-f]{40}", labels["org.opencontainers.image.revision"])


@pytest.mark.parametrize("name", images.names())
def test_an_image_has_its_locked_packages_their_list_and_nothing_to_install_or_compile_with(
    name: str, started: Mapping[str, Any]
) -> None:
    container = started[name]
    assert container.exec_run(["sh", "-c", FAILING]).exit_code == 0
    listed = json.loads(container.exec_run(["cat", "/app/sbom.cdx.json"]).output)
    found = {(canonicalize_name(part["name"]), part["version"]) for part in listed["components"]}
    locks = images.CHECKOUT / "deploy/docker/locks"
    texts = [path.read_text() for path in (locks / "library.lock", locks / f"{name}.lock") if path.exists()]
    locked = {pair for text in texts for pair in re.findall(r"(?m)^([\w.-]+)(?:\[.*?\])?==(\S+)", text)}
    # The lock is for all systems and versions of Python: not all of it is installed.
    assert found <= locked
    assert {"pydantic", "dapr", "fastapi"} <= {package for package, _ in found}
