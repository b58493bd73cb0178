"""Runs the stand-in: `python -m tests.support.servicebus 127.0.0.1:5672 namespace.db`."""

import argparse
from pathlib import Path

from tests.support.servicebus.server import Server
from tests.support.servicebus.store import Store

parser = argparse.ArgumentParser(prog="servicebus")
parser.add_argument("address", help="host:port to listen at")
parser.add_argument("file", type=Path, help="where the messages are kept")
parser.add_argument("--lock-seconds", type=float, default=60)
parser.add_argument("--max-deliveries", type=int, default=10)
arguments = parser.parse_args()
store = Store(arguments.file, lock_seconds=arguments.lock_seconds, max_deliveries=arguments.max_deliveries)
Server(store, arguments.address).run()
