"""Ports for what tests serve themselves: below those of the launcher, and of the kernel."""

import random
import socket
from contextlib import ExitStack

_FIRST_PORT, _LAST_PORT = 18000, 20999


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, for a program that cannot be handed a socket."""
    with ExitStack() as held:
        return [held.enter_context(bound_socket()).getsockname()[1] for _ in range(count)]


def bound_socket() -> socket.socket:
    """A socket that listens on a free port of the loopback already, so that nobody can take it in between."""
    ports = list(range(_FIRST_PORT, _LAST_PORT))
    random.shuffle(ports)
    for port in ports:
        candidate = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
            # Bound alone, it would share the port with others that may be bound again.
            candidate.listen()
        except OSError:
            candidate.close()
            continue
        return candidate
    raise OSError(f"no port between {_FIRST_PORT} and {_LAST_PORT} is free on 127.0.0.1")
