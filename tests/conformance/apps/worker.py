"""Worker: an agent that is asked."""

from dovecote import Agent


def worker() -> Agent:
    """A worker of its own, for each replica."""
    return Agent("worker", instructions="You are the worker.")


app = worker().app
