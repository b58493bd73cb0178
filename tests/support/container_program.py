"""Runs one container for as long as this process lives: its argument says which, as JSON."""

import json
import os
import signal
import sys
from typing import Any

from testcontainers.core.container import DockerContainer

from tests.support.containers import remove


def run(what: dict[str, Any]) -> None:
    """Run the container until it ends, and end with it; SIGTERM is passed on."""
    # One that an earlier process could not take with it.
    remove(what["name"])
    container = (
        DockerContainer(what["image"])
        .with_name(what["name"])
        .with_volume_mapping(what["data"], what["data"], "rw")
        .with_envs(**what["env"])
        .with_kwargs(
            network_mode="host",
            user=f"{os.getuid()}:{os.getgid()}",
            working_dir=what["folder"],
            entrypoint=what["command"],
        )
    )
    with container:
        running = container.get_wrapped_container()
        try:
            for line in running.logs(stream=True, follow=True):
                sys.stdout.buffer.write(line)
                sys.stdout.flush()
        except SystemExit:
            running.stop(timeout=round(what["stop_seconds"]))
            raise
        sys.exit(running.wait()["StatusCode"])


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    run(json.loads(sys.argv[1]))
