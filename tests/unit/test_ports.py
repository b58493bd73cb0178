"""The ports that tests take for what they serve."""

from tests.support.ports import free_ports


def test_ports_that_are_taken_at_once_differ() -> None:
    assert len(set(free_ports(300))) == 300
