"""How a system gets its block of ports."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.brokers import order
from deploy.local.errors import PortTakenError
from deploy.local.ports import FIRST, HOST, LAST, WIDTH, PortBlock, claim_block, claim_written_block, require_free

PORTS = [FIRST + 10, FIRST + 11]


@pytest.fixture
def claimed() -> Iterator[list[PortBlock]]:
    blocks: list[PortBlock] = []
    yield blocks
    for block in blocks:
        block.release()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as server:
        yield server


def listen(server: socket.socket, port: int) -> None:
    server.bind((HOST, port))
    server.listen()


def test_a_block_is_kept_for_the_next_start(tmp_path: Path, claimed: list[PortBlock]) -> None:
    record = tmp_path / "ports.json"
    first = claim_block(tmp_path, PORTS, record)
    first.release()
    claimed.append(claim_block(Path("/another/home"), PORTS, record))
    assert claimed[0].offset == first.offset
    assert 0 < first.offset <= LAST - max(PORTS)


def test_two_systems_that_want_the_same_block_get_different_ones(tmp_path: Path, claimed: list[PortBlock]) -> None:
    claimed.append(claim_block(tmp_path, PORTS, tmp_path / "one.json"))
    claimed.append(claim_block(tmp_path, PORTS, tmp_path / "two.json"))
    assert claimed[0].offset != claimed[1].offset


def test_a_block_with_a_taken_port_is_passed_over(
    tmp_path: Path, claimed: list[PortBlock], listener: socket.socket
) -> None:
    record = tmp_path / "ports.json"
    first = claim_block(tmp_path, PORTS, record)
    first.release()
    listen(listener, PORTS[1] + first.offset)
    claimed.append(claim_block(tmp_path, PORTS, record))
    assert claimed[0].offset != first.offset
    assert json.loads(record.read_text()) == {"offset": claimed[0].offset}


def test_no_block_reaches_the_ephemeral_range(tmp_path: Path, claimed: list[PortBlock]) -> None:
    claimed.extend(claim_block(tmp_path / str(n), PORTS, tmp_path / f"{n}.json") for n in range(5))
    assert all(FIRST + block.offset + WIDTH - 1 <= LAST for block in claimed)


def test_a_taken_port_is_named_with_its_owner_and_the_mend(listener: socket.socket) -> None:
    listen(listener, 0)
    port = listener.getsockname()[1]
    with pytest.raises(PortTakenError, match=rf"port {port} is taken by process {os.getpid()} \(.+\): mend it"):
        require_free(port, "mend it")


def test_ports_as_written_are_refused_when_one_is_taken(listener: socket.socket) -> None:
    listen(listener, 0)
    port = listener.getsockname()[1]
    with pytest.raises(PortTakenError, match=f"port {port} is taken.*dapr.yaml"):
        claim_written_block([port])


def test_the_run_file_says_which_ports_the_brokers_have() -> None:
    text = (Path(__file__).resolve().parents[2] / "dapr.yaml").read_text()
    assert f"{order.PORTS[0]} to {order.PORTS[-1]} (the brokers)" in text
