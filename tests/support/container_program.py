"""Runs one container for as long as this process lives: NAME IMAGE FOLDER MOUNT-POINT."""

import signal
import sys

from testcontainers.core.container import DockerContainer

from tests.support.containers import remove


def run(name: str, image: str, folder: str, mount: str) -> None:
    """Run the container until it ends."""
    # One that an earlier process could not take with it.
    remove(name)
    container = DockerContainer(image).with_name(name).with_volume_mapping(folder, mount, "rw")
    # In the machine's own network it can listen on the loopback alone.
    with container.with_kwargs(network_mode="host"):
        container.get_wrapped_container().wait()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    run(*sys.argv[1:])
