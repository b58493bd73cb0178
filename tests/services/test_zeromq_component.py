"""The ZeroMQ component through its Unix socket, as a sidecar sees it, with a real broker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import grpc
import pytest
import zmq
import zmq.asyncio
from grpc_reflection.v1alpha import reflection_pb2

from services.zeromq_pubsub.broker import Broker
from services.zeromq_pubsub.component import LARGEST
from services.zeromq_pubsub.connection import Connection
from services.zeromq_pubsub.proto import common_pb2, pubsub_pb2
from services.zeromq_pubsub.settings import read_settings
from tests.support.eventually import eventually
from tests.support.zeromq import Sidecar, port_settings, sidecar

TOPIC = "agents.writer.inbox"
EXTERNAL = {"proxy_mode": "external", "connect_timeout": "3000"}


@contextlib.asynccontextmanager
async def broker(settings: dict[str, str], settle: float = 0.0) -> AsyncIterator[Broker]:
    one = Broker(read_settings({"consumerID": "broker", **settings}), settle)
    with contextlib.closing(one):
        one.bind()
        running = asyncio.create_task(one.run())
        try:
            yield one
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
def ports() -> dict[str, str]:
    return port_settings()


@pytest.fixture
async def carrier(ports: dict[str, str]) -> AsyncIterator[Broker]:
    async with broker(ports) as one:
        yield one


@contextlib.asynccontextmanager
async def joined(folder: Path, ports: dict[str, str], group: str) -> AsyncIterator[Sidecar]:
    async with sidecar(folder) as one:
        await one.init(group, **ports, **EXTERNAL)
        yield one


@pytest.fixture
async def writer(tmp_path: Path, ports: dict[str, str], carrier: Broker) -> AsyncIterator[Sidecar]:
    async with joined(tmp_path / "writer", ports, "writer") as one:
        yield one


@pytest.fixture
async def replica(tmp_path: Path, ports: dict[str, str], carrier: Broker) -> AsyncIterator[Sidecar]:
    async with joined(tmp_path / "replica", ports, "writer") as one:
        yield one


@pytest.fixture
async def other(tmp_path: Path, ports: dict[str, str], carrier: Broker) -> AsyncIterator[Sidecar]:
    async with joined(tmp_path / "other", ports, "other") as one:
        yield one


async def subscribed(carrier: Broker, topic: str, streams: int = 1, group: str = "writer") -> None:
    """Wait until the broker knows of so many streams."""

    def count() -> int:
        queue = carrier._queues._queues.get((topic.encode(), group.encode()))
        return sum(queue.members.values()) if queue is not None else 0

    await eventually(lambda: count() == streams, f"{streams} streams of {topic}")


async def refused(work: Awaitable[object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await work
    return caught.value.code(), str(caught.value.details())


async def test_a_sidecar_finds_the_service_by_reflection(writer: Sidecar) -> None:
    ask = writer.channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    answers = [answer async for answer in ask(iter([request]))]
    names = [service.name for service in answers[0].list_services_response.service]
    assert "dapr.proto.components.v1.PubSub" in names


async def test_it_says_that_it_takes_bulk_and_that_waiting_for_more_is_of_no_use(writer: Sidecar) -> None:
    answer = await writer.stub.features(common_pb2.FeaturesRequest())
    assert set(answer.features) == {"BULK_PUBSUB", "BULK_SUBSCRIBE_IMMEDIATE"}
    await writer.stub.ping(common_pb2.PingRequest())


async def test_a_message_arrives_as_it_was_sent(writer: Sidecar, other: Sidecar, carrier: Broker) -> None:
    pull = other.pull(TOPIC)
    await subscribed(carrier, TOPIC, group="other")
    await writer.publish(TOPIC, bytes(range(256)), traceparent="00-1-1-00", words="Grüße")
    message = await pull.message()
    assert message.data == bytes(range(256))
    assert message.topic_name == TOPIC
    assert dict(message.metadata) == {"traceparent": "00-1-1-00", "words": "Grüße"}


async def test_a_topic_gets_nothing_of_one_whose_name_begins_like_it(writer: Sidecar, carrier: Broker) -> None:
    short, long = writer.pull("tasks"), writer.pull("tasks.events")
    await subscribed(carrier, "tasks")
    await subscribed(carrier, "tasks.events")
    await writer.publish("tasks.events", b"long")
    await writer.publish("tasks", b"short")
    assert await short.data() == b"short"
    assert await long.data() == b"long"


async def test_replicas_share_and_other_apps_get_all(
    writer: Sidecar, replica: Sidecar, other: Sidecar, carrier: Broker
) -> None:
    pulls = [writer.pull(TOPIC), replica.pull(TOPIC)]
    everything = other.pull(TOPIC)
    await subscribed(carrier, TOPIC, 2)
    await subscribed(carrier, TOPIC, group="other")
    for number in range(10):
        await writer.publish(TOPIC, b"%d" % number)
    shared: list[bytes] = []
    seen: list[bytes] = []
    for _ in range(5):
        for pull in pulls:
            shared.append(await pull.data())
            pull.acknowledge()
    for _ in range(10):
        seen.append(await everything.data())
        everything.acknowledge()
    assert sorted(shared) == sorted(seen) == [b"%d" % number for number in range(10)]


async def test_a_second_name_of_a_topic_takes_a_second_message_at_once(writer: Sidecar, carrier: Broker) -> None:
    first, second = writer.pull(TOPIC), writer.pull(f"{TOPIC}#2")
    await subscribed(carrier, TOPIC, 2)
    await writer.publish(TOPIC, b"a")
    await writer.publish(TOPIC, b"b")
    messages = [await first.message(), await second.message()]
    assert sorted(message.data for message in messages) == [b"a", b"b"]
    assert {message.topic_name for message in messages} == {TOPIC}


async def test_a_rejected_message_comes_again(writer: Sidecar, carrier: Broker) -> None:
    pull = writer.pull(TOPIC)
    await subscribed(carrier, TOPIC)
    await writer.publish(TOPIC, b"difficult")
    for _ in range(3):
        assert await pull.data() == b"difficult"
        pull.reject()
    assert await pull.data() == b"difficult"
    pull.acknowledge()
    await writer.publish(TOPIC, b"next")
    assert await pull.data() == b"next"


async def test_what_a_sidecar_had_begun_goes_to_a_replica(
    writer: Sidecar, replica: Sidecar, carrier: Broker
) -> None:
    pull = writer.pull(TOPIC)
    await subscribed(carrier, TOPIC)
    await writer.publish(TOPIC, b"begun")
    assert await pull.data() == b"begun"
    taking_over = replica.pull(TOPIC)
    await subscribed(carrier, TOPIC, 2)
    pull.cancel()
    assert await taking_over.data() == b"begun"


async def test_what_is_published_while_a_group_is_away_waits_for_it(writer: Sidecar, carrier: Broker) -> None:
    pull = writer.pull(TOPIC)
    await subscribed(carrier, TOPIC)
    pull.cancel()
    await subscribed(carrier, TOPIC, 0)
    await writer.publish(TOPIC, b"meanwhile")
    assert await writer.pull(TOPIC).data() == b"meanwhile"


async def test_a_paused_component_delivers_nothing_and_what_it_had_can_be_settled(
    writer: Sidecar, carrier: Broker
) -> None:
    pull = writer.pull(TOPIC)
    await subscribed(carrier, TOPIC)
    await writer.publish(TOPIC, b"one")
    assert await pull.data() == b"one"
    await writer.stub.pause(pubsub_pb2.PauseRequest())
    await subscribed(carrier, TOPIC, 0)
    pull.acknowledge()
    await writer.publish(TOPIC, b"two")
    waiting = asyncio.ensure_future(pull.data())
    done, _ = await asyncio.wait([waiting], timeout=0.3)
    assert not done
    await writer.stub.resume(pubsub_pb2.ResumeRequest())
    assert await waiting == b"two"


async def test_a_bulk_is_published_in_its_order(writer: Sidecar, carrier: Broker) -> None:
    pull = writer.pull(TOPIC)
    await subscribed(carrier, TOPIC)
    await writer.publish_bulk(TOPIC, *(b"%d" % number for number in range(50)))
    for number in range(50):
        assert await pull.data() == b"%d" % number
        pull.acknowledge()


async def test_a_full_queue_refuses_what_it_does_not_take(tmp_path: Path, ports: dict[str, str]) -> None:
    async with broker({**ports, "high_water_mark": "3"}) as carrier, sidecar(tmp_path) as one:
        await one.init("writer", **ports, proxy_mode="external", connect_timeout="300", high_water_mark="3")
        pull = one.pull(TOPIC)
        await subscribed(carrier, TOPIC)
        code, text = await refused(one.publish_bulk(TOPIC, *(b"%d" % number for number in range(5))))
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert f"no room for a message to {TOPIC!r} within 300 ms: a queue holds 3" in text
        code, text = await refused(one.publish(TOPIC, b"one more"))
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "its consumers are away or too slow" in text
        assert await pull.data() == b"0"


async def test_a_publisher_waits_until_a_full_queue_has_room(tmp_path: Path, ports: dict[str, str]) -> None:
    async with broker({**ports, "high_water_mark": "1"}) as carrier, sidecar(tmp_path) as one:
        await one.init("writer", **ports, **EXTERNAL)
        pull = one.pull(TOPIC)
        await subscribed(carrier, TOPIC)
        publishing = asyncio.ensure_future(one.publish_bulk(TOPIC, b"0", b"1", b"2"))
        for number in range(3):
            assert await pull.data() == b"%d" % number
            pull.acknowledge()
        await publishing


async def test_what_is_published_as_the_broker_starts_again_reaches_those_who_come_back(
    tmp_path: Path, ports: dict[str, str]
) -> None:
    async with sidecar(tmp_path) as one:
        async with broker(ports) as first:
            await one.init("writer", **ports, **EXTERNAL)
            pull = one.pull(TOPIC)
            await subscribed(first, TOPIC)
        publishing = asyncio.ensure_future(one.publish(TOPIC, b"meanwhile"))
        async with broker(ports, 1.0):
            await publishing
            assert await pull.data() == b"meanwhile"


async def test_a_message_that_the_sidecar_could_not_take_back_is_refused(writer: Sidecar, carrier: Broker) -> None:
    pull = writer.pull(TOPIC)
    await subscribed(carrier, TOPIC)
    code, text = await refused(writer.publish(TOPIC, bytes(LARGEST)))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert f"is too large: the sidecar takes {LARGEST} back" in text
    largest = bytes(LARGEST - len(TOPIC) - len("{}"))
    await writer.publish(TOPIC, largest)
    assert await pull.data() == largest


async def test_a_topic_that_is_the_name_of_a_stream_is_not_published_to(writer: Sidecar) -> None:
    code, text = await refused(writer.publish(f"{TOPIC}#2", b""))
    assert (code, "'#'" in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)


async def test_a_topic_that_the_encoding_lacks_is_refused(tmp_path: Path, ports: dict[str, str]) -> None:
    async with broker(ports), sidecar(tmp_path) as one:
        await one.init("writer", **ports, **EXTERNAL, topic_encoding="ascii")
        code, text = await refused(one.publish("grüße", b""))
        assert (code, text) == (grpc.StatusCode.INVALID_ARGUMENT, "topic 'grüße' cannot be written in ascii")


async def test_before_init_it_says_what_is_missing(tmp_path: Path) -> None:
    async with sidecar(tmp_path) as one:
        code, text = await refused(one.publish(TOPIC, b""))
        assert (code, text) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "Init comes first: it says which broker to use",
        )


async def test_a_setting_that_cannot_be_used_stops_the_sidecar_by_its_name(tmp_path: Path) -> None:
    async with sidecar(tmp_path) as one:
        code, text = await refused(one.init("writer", hwm="7"))
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert text.startswith("hwm: there is no such setting")


async def test_a_broker_that_is_not_there_stops_the_sidecar_with_the_mend(
    tmp_path: Path, ports: dict[str, str]
) -> None:
    async with sidecar(tmp_path) as one:
        code, text = await refused(one.init("writer", **ports, proxy_mode="external", connect_timeout="300"))
        assert code == grpc.StatusCode.UNAVAILABLE
        assert "within 300 ms: start it, or mend broker_address, port and backend_port" in text


async def test_an_address_that_is_none_stops_the_sidecar_by_its_name(tmp_path: Path) -> None:
    async with sidecar(tmp_path) as one:
        code, text = await refused(one.init("writer", broker_address="no address"))
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert text.startswith("broker_address: 'no address' is no address")


async def test_closing_that_is_cancelled_half_way_leaves_nothing_open(ports: dict[str, str]) -> None:
    one = Connection(read_settings({"consumerID": "writer", **ports, **EXTERNAL}))
    closing = asyncio.create_task(one.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await eventually(lambda: one._context.closed, "the context's end")


async def test_a_sidecar_that_starts_again_initializes_its_component_again(
    writer: Sidecar, carrier: Broker, ports: dict[str, str]
) -> None:
    before = writer.pull(TOPIC)
    await subscribed(carrier, TOPIC)
    before.cancel()
    await writer.init("writer", **ports, **EXTERNAL)
    after = writer.pull(TOPIC)
    await subscribed(carrier, TOPIC)
    await writer.publish(TOPIC, b"again")
    assert await after.data() == b"again"


async def test_a_sidecar_with_two_components_of_the_type_has_two_that_do_not_touch_each_other(
    writer: Sidecar, carrier: Broker, ports: dict[str, str]
) -> None:
    news = Sidecar(writer.stub, writer.channel, "news")
    code, text = await refused(news.publish(TOPIC, b"too soon"))
    assert (code, "Init comes first" in text) == (grpc.StatusCode.FAILED_PRECONDITION, True)
    pull = writer.pull(TOPIC)
    await subscribed(carrier, TOPIC)
    await news.init("writer", **ports, **EXTERNAL)
    await news.publish(TOPIC, b"one")
    assert await pull.data() == b"one"
    pull.acknowledge()
    await news.init("writer", **ports, **EXTERNAL)
    await writer.publish(TOPIC, b"two")
    assert await pull.data() == b"two"


async def test_a_socket_that_a_killed_component_left_is_replaced_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "zeromq.sock"
    path.touch()
    async with sidecar(tmp_path) as one:
        await one.stub.ping(common_pb2.PingRequest())
    assert not path.exists()


async def test_what_is_no_message_of_ours_does_not_end_the_broker(writer: Sidecar, ports: dict[str, str]) -> None:
    context = zmq.asyncio.Context()
    for port in ports.values():
        stranger = context.socket(zmq.DEALER)
        stranger.connect(f"tcp://127.0.0.1:{port}")
        for parts in ([b"hello"], [b"PUBLISH", b"1"], [b"PUBLISH", b"1", b"t", b"odd"], [b"BEAT", b"123"]):
            await stranger.send_multipart(parts)
        stranger.close(1000)
    await asyncio.to_thread(context.term)
    await writer.publish(TOPIC, b"still here")
