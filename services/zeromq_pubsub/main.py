"""ZeroMQ pub/sub: `component [SOCKET [SIDECAR…]]` serves one sidecar, `broker` carries the messages of all.

Without arguments it serves a component where sidecars look for one.
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from services.zeromq_pubsub.broker import serve_broker
from services.zeromq_pubsub.errors import ZeroMqError
from services.zeromq_pubsub.settings import read_settings

SOCKET: Final = Path("/tmp/dapr-components-sockets/zeromq.sock")  # noqa: S108 - where Dapr has it


def main(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m services.zeromq_pubsub.main", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    component = commands.add_parser("component", help="serve the component of one sidecar")
    component.add_argument(
        "socket",
        type=Path,
        nargs="?",
        default=SOCKET,
        help="such as FOLDER/zeromq.sock: the name gives the component's type (default: %(default)s)",
    )
    component.add_argument("--directory", type=Path, default=Path(), help="the sidecar's working directory")
    component.add_argument(
        "--pass-on", action="store_true", help="tell the sidecar to end, where nobody else does, as in a container"
    )
    component.add_argument(
        "--sidecar-port",
        type=int,
        help="of a sidecar that others start, which must start again if a component died",
    )
    component.add_argument("sidecar", nargs=argparse.REMAINDER, help="the command that starts the sidecar")
    broker = commands.add_parser("broker", help="carry messages until ended")
    broker.add_argument(
        "settings", nargs="*", metavar="NAME=VALUE", help="settings of the component, such as port=5555"
    )
    options = parser.parse_args(arguments or ["component"])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        if options.command == "broker":
            given = dict(setting.partition("=")[::2] for setting in options.settings)
            return asyncio.run(serve_broker(read_settings({"consumerID": "broker", **given})))
        # The broker does without Dapr's protocol, which takes half a second to import.
        from services.zeromq_pubsub.serving import serve, serve_beside  # noqa: PLC0415 - as said above

        if options.sidecar:
            return asyncio.run(
                serve_beside(options.socket, options.sidecar, options.directory, pass_on=options.pass_on)
            )
        return asyncio.run(serve(options.socket, options.sidecar_port))
    except ZeroMqError as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
