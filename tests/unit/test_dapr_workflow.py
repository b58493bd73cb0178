"""The worker of workflows at a sidecar that has nothing to do."""

import asyncio
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from dovecote.dapr.workflow import DaprWorkflows
from dovecote.ports import WorkflowContext

_SERVICE = "TaskHubSidecarService"


@pytest.fixture
def idle_sidecar() -> Iterator[int]:
    """The port of a server that hands out no work."""
    over = threading.Event()

    def no_work(_: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.add_callback(over.set)
        over.wait()
        yield from ()

    handlers: dict[str, Any] = {
        "Hello": grpc.unary_unary_rpc_method_handler(lambda *_: Empty().SerializeToString()),
        "GetWorkItems": grpc.unary_stream_rpc_method_handler(no_work),
    }
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(_SERVICE, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    over.set()
    server.stop(None).wait()


async def test_a_worker_that_is_stopped_leaves_no_event_loop_open(
    idle_sidecar: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loops: list[asyncio.AbstractEventLoop] = []
    made = asyncio.new_event_loop

    def noted() -> asyncio.AbstractEventLoop:
        loops.append(made())
        return loops[-1]

    monkeypatch.setattr(asyncio, "new_event_loop", noted)

    def nothing(_: WorkflowContext, data: Any) -> Generator[Any, Any, Any]:
        yield from ()
        return data

    workflows = DaprWorkflows(idle_sidecar, concurrency=100)
    workflows.register("nothing", nothing)
    await workflows.start()
    await workflows.stop()
    assert [loop.is_closed() for loop in loops] == [True]
