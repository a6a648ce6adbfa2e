"""The publisher against brokers that misbehave."""

import asyncio
import contextlib
import json
import logging
import struct
import time

import pytest

from edge_agent.errors import BrokerUnavailableError
from edge_agent.metrics import Metrics
from edge_agent.model import PublisherId
from edge_agent.publish import refusals
from edge_agent.publish.messages import Message
from edge_agent.publish.mqtt import MqttSession
from edge_agent.publish.standing import Standing
from edge_agent.testing.eventually import eventually
from tests.servers.memory_outbox import MemoryOutbox, make_row
from tests.servers.publishing import options_for, publishing
from tests.servers.raw_broker import (
    MAXIMUM_PACKET_SIZE,
    MAXIMUM_QOS,
    RECEIVE_MAXIMUM,
    RETAIN_AVAILABLE,
    Behaviour,
    Published,
    RawBroker,
    raw_broker,
)

pytestmark = pytest.mark.slow
CLOUD = PublisherId("cloud")
WILL = Message("status", b"{}", retain=True)
QUOTA_EXCEEDED, NOT_AUTHORISED = 0x97, 0x87


def rows_of(published: Published) -> list[int]:
    return [row["row"] for row in json.loads(published.payload)["rows"]]


def data(broker: RawBroker, device: str = "press-01") -> list[Published]:
    return [published for published in broker.published if published.topic.endswith(f"/{device}/data")]


def last_error(metrics_or_publisher: object) -> str:
    return str(metrics_or_publisher.summary()["last_error"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("reason", [QUOTA_EXCEEDED, NOT_AUTHORISED, 0x80])
async def test_peer_defect_09_a_refused_puback_is_not_delivery(
    reason: int, caplog: pytest.LogCaptureFixture
) -> None:
    outbox, metrics = MemoryOutbox(), Metrics()
    behaviour = Behaviour(puback=lambda published: reason if published.topic.endswith("data") else 0)
    caplog.set_level(logging.INFO)
    async with raw_broker(behaviour) as broker, publishing(options_for(broker.port), outbox, metrics=metrics):
        outbox.add(1, 1)
        await eventually(lambda: len(data(broker)) == 3, what="tried again")
        assert outbox.confirmed.get(CLOUD, []) == []
        assert metrics.acknowledged.labels("cloud")._value.get() == 0
        behaviour.puback = lambda _published: 0
        await eventually(lambda: outbox.confirmed.get(CLOUD, []) == [1])
        await eventually(lambda: "the broker takes the messages that it refused" in caplog.messages)
    assert metrics.refused.labels("cloud")._value.get() >= 3
    assert caplog.messages.count("the broker refuses a message; it is kept") == 1
    assert len({published.payload for published in data(broker)}) == 1


async def test_a_broker_that_refuses_everything_is_not_flooded_and_gets_everything_later() -> None:
    outbox = MemoryOutbox([make_row(number) for number in range(1, 101)])
    behaviour = Behaviour(puback=lambda published: QUOTA_EXCEEDED if published.topic.endswith("data") else 0)
    async with raw_broker(behaviour) as broker, publishing(options_for(broker.port, message_bytes=1), outbox):
        await eventually(lambda: len(data(broker)) > 30)
        new = {published.payload for published in data(broker)}
        assert len(new) <= 20, "no more than the window was sent, and only one message is tried again"
        behaviour.puback = lambda _published: 0
        await eventually(lambda: sorted(set(outbox.confirmed.get(CLOUD, []))) == list(range(1, 101)))
        assert outbox.begun == 2, "what was left in the outbox came with a new cursor"


async def test_what_was_in_flight_behind_a_refused_message_is_sent_again() -> None:
    outbox = MemoryOutbox([make_row(number) for number in range(1, 4)])
    behaviour = Behaviour(puback=lambda published: None if published.topic.endswith("data") else 0)
    async with raw_broker(behaviour) as broker, publishing(options_for(broker.port, message_bytes=1), outbox):
        await eventually(lambda: len(broker.unacknowledged) == 3)
        behaviour.puback = lambda _published: 0
        for published in list(broker.unacknowledged):
            broker.acknowledge(published, QUOTA_EXCEEDED)
        await eventually(lambda: sorted(outbox.confirmed.get(CLOUD, [])) == [1, 2, 3])


async def test_a_refused_device_does_not_hold_up_another_with_a_window_of_one() -> None:
    outbox = MemoryOutbox()
    behaviour = Behaviour(
        puback=lambda published: NOT_AUTHORISED if "/bad/" in published.topic else 0,
        properties=bytes([RECEIVE_MAXIMUM]) + struct.pack("!H", 1),
    )
    async with raw_broker(behaviour) as broker, publishing(options_for(broker.port, message_bytes=1), outbox):
        await eventually(lambda: outbox.begun)
        outbox.add(1, 30, "bad")
        outbox.add(31, 5, "good")
        await eventually(lambda: outbox.confirmed.get(CLOUD, []) == list(range(31, 36)))
    assert broker.most_unacknowledged == 1


async def test_the_broker_s_receive_maximum_is_kept_by_everything_that_is_sent() -> None:
    outbox = MemoryOutbox([make_row(number) for number in range(1, 31)])
    behaviour = Behaviour(
        properties=bytes([RECEIVE_MAXIMUM]) + struct.pack("!H", 3), puback=lambda _published: None
    )
    async with (
        raw_broker(behaviour) as broker,
        publishing(options_for(broker.port, message_bytes=1, health_interval_s=0.01), outbox),
    ):
        await eventually(lambda: broker.unacknowledged)
        outbox.add(31, 30)
        while len(outbox.confirmed.get(CLOUD, [])) < 60:
            await eventually(lambda: broker.unacknowledged)
            broker.acknowledge(broker.unacknowledged[0])
        behaviour.puback = lambda _published: 0
        for published in list(broker.unacknowledged):
            broker.acknowledge(published)
    assert broker.most_unacknowledged == 3


async def test_neither_stream_waits_for_the_other() -> None:
    outbox = MemoryOutbox([make_row(number) for number in range(1, 21)])

    def withhold(historical: bool) -> None:
        mark = b'"historical":true' if historical else b'"historical":false'
        broker.behaviour.puback = lambda published: None if mark in published.payload else 0

    async with raw_broker() as broker:
        withhold(historical=True)
        async with publishing(options_for(broker.port, message_bytes=1, max_in_flight=4), outbox):
            await eventually(lambda: len(data(broker)) == 2, what="half the window is the backlog's")
            outbox.add(21, 10)
            await eventually(
                lambda: outbox.confirmed.get(CLOUD, []) == list(range(21, 31)), what="live rows go on"
            )
            withhold(historical=False)
            outbox.add(31, 10)
            await eventually(lambda: len(broker.unacknowledged) == 4)
            for published in broker.unacknowledged[:2]:
                broker.acknowledge(published)
            await eventually(
                lambda: set(range(1, 21)) <= set(outbox.confirmed.get(CLOUD, [])), what="the backlog drains"
            )
            assert not set(range(33, 41)) & set(outbox.confirmed.get(CLOUD, []))
            broker.behaviour.puback = lambda _published: 0
            for published in list(broker.unacknowledged):
                broker.acknowledge(published)


async def test_a_small_maximum_packet_size_makes_smaller_messages() -> None:
    outbox = MemoryOutbox([make_row(number) for number in range(1, 21)])
    outbox.append(make_row(21, values=[float(n) for n in range(200)]), make_row(22))
    limit = struct.pack("!BI", MAXIMUM_PACKET_SIZE, 600)
    metrics = Metrics()
    async with (
        raw_broker(Behaviour(properties=limit)) as broker,
        publishing(options_for(broker.port), outbox, metrics=metrics),
    ):
        await eventually(lambda: sorted(outbox.confirmed.get(CLOUD, [])) == list(range(1, 23)))
    assert [row_id for row_id, _ in outbox.aside] == [21], "row 21 is larger by itself: a dead letter"
    assert 21 not in [number for published in data(broker) for number in rows_of(published)]
    assert 600 - 150 < max(len(published.payload) for published in data(broker)) < 600
    assert metrics.refused.labels("cloud")._value.get() == 1


async def test_a_poisoned_row_becomes_a_dead_letter_and_costs_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refusals, "LASTS_S", 0.3)
    outbox = MemoryOutbox([make_row(number) for number in range(1, 21)])
    metrics = Metrics()

    def puback(published: Published) -> int:
        return 0x99 if published.topic.endswith("data") and 7 in rows_of(published) else 0

    async with (
        raw_broker(Behaviour(puback=puback)) as broker,
        publishing(options_for(broker.port), outbox, metrics=metrics) as publisher,
    ):
        await eventually(lambda: outbox.aside != [])
        await eventually(lambda: sorted(outbox.confirmed.get(CLOUD, [])) == list(range(1, 21)))
        assert [row_id for row_id, _ in outbox.aside] == [7]
        assert len([one for one in data(broker) if rows_of(one) == [7]]) >= 1
        assert len([one for one in data(broker) if 7 in rows_of(one)]) >= 3
        assert publisher.summary()["dead_letters"] == 1
        outbox.add(21, 3)
        await eventually(lambda: 23 in outbox.confirmed.get(CLOUD, []))


@pytest.mark.parametrize("reason", [QUOTA_EXCEEDED, NOT_AUTHORISED])
async def test_what_is_refused_for_the_account_is_never_set_aside(
    reason: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "LASTS_S", 0.0)
    outbox = MemoryOutbox([make_row(1)])
    behaviour = Behaviour(puback=lambda published: reason if published.topic.endswith("data") else 0)
    async with raw_broker(behaviour) as broker, publishing(options_for(broker.port), outbox):
        await eventually(lambda: len(data(broker)) >= 6)
    assert outbox.aside == []
    assert outbox.confirmed.get(CLOUD, []) == []


async def test_a_broker_that_keeps_no_retained_messages_is_sent_none() -> None:
    async with (
        raw_broker(Behaviour(properties=bytes([RETAIN_AVAILABLE, 0]))) as broker,
        publishing(options_for(broker.port), MemoryOutbox()),
    ):
        await eventually(lambda: len(broker.published) == 2)
    assert not any(published.retain for published in broker.published)


async def test_a_broker_without_qos_1_is_no_broker_for_us() -> None:
    async with raw_broker(Behaviour(properties=bytes([MAXIMUM_QOS, 0]))) as broker:
        with pytest.raises(BrokerUnavailableError, match="does not take QoS 1"):
            await MqttSession.connect(options_for(broker.port), options_for(broker.port).servers[0], WILL)
        await eventually(lambda: not broker.open_connections)


@pytest.mark.parametrize(
    ("version", "code", "text"),
    [
        (5, 0x86, r"Bad user name or password \(0x86\): check username"),
        (5, 0x87, "may not connect"),
        (5, 0x9D, "has moved"),
        (4, 4, "check username and password"),
        (4, 5, "may not connect"),
        (4, 1, "before CONNACK|does not speak this version"),
    ],
)
async def test_a_refused_connack_says_why_and_what_to_check(version: int, code: int, text: str) -> None:
    async with raw_broker(Behaviour(version=version, connack=code)) as broker:
        options = options_for(broker.port, protocol_version=version)
        with pytest.raises(BrokerUnavailableError, match=text):
            await MqttSession.connect(options, options.servers[0], WILL)
        await eventually(lambda: not broker.open_connections)


async def test_a_broker_that_never_answers_connect_is_given_up() -> None:
    async with raw_broker(Behaviour(connack=None)) as broker:
        options = options_for(broker.port, connect_timeout_s=0.1)
        with pytest.raises(BrokerUnavailableError, match="does not answer CONNECT"):
            await MqttSession.connect(options, options.servers[0], WILL)
        await eventually(lambda: not broker.open_connections, what="the socket is closed")


@pytest.mark.parametrize("use_tls", [False, True])
async def test_a_cancelled_connect_leaves_no_socket_behind(use_tls: bool) -> None:
    async with raw_broker(Behaviour(connack=None)) as broker:
        options = options_for(broker.port, use_tls=use_tls)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(MqttSession.connect(options, options.servers[0], WILL))
            await eventually(lambda: broker.open_connections == 1)
            task.cancel()
        await eventually(lambda: not broker.open_connections)


async def test_an_unknown_name_says_so() -> None:
    options = options_for(1)
    server = type(options.servers[0])("no-such-host.invalid", 1883, use_tls=False)
    with pytest.raises(BrokerUnavailableError, match=r"cannot resolve 'no-such-host\.invalid'"):
        await MqttSession.connect(options, server, WILL)


async def test_a_broker_that_acknowledges_nothing_loses_the_session() -> None:
    outbox = MemoryOutbox([make_row(1)])
    behaviour = Behaviour(puback=lambda _published: None)
    async with (
        raw_broker(behaviour) as broker,
        publishing(options_for(broker.port, acknowledge_timeout_s=0.1), outbox) as publisher,
    ):
        await eventually(lambda: "acknowledged nothing for 0.1 s" in last_error(publisher))
        await eventually(lambda: broker.connects >= 2)
        assert outbox.confirmed.get(CLOUD, []) == []
        behaviour.puback = lambda _published: 0
        await eventually(lambda: outbox.confirmed.get(CLOUD, []) == [1])


async def test_a_half_open_connection_is_noticed_within_one_and_a_half_keep_alives() -> None:
    behaviour = Behaviour()
    async with raw_broker(behaviour) as broker:
        options = options_for(broker.port, keep_alive_s=1.0)
        session = await MqttSession.connect(options, options.servers[0], WILL)
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(_ending(session))
            await eventually(lambda: broker.pings >= 2, what="pings that are answered keep it alive")
            assert not watch.done()
            behaviour.answers_ping = False
            began_s = time.monotonic()
        assert "nothing came from the broker for 1.5 s" in watch.result()
        assert time.monotonic() - began_s < 3
        session.abort()


async def _ending(session: MqttSession) -> str:
    try:
        await session.watch()
    except BrokerUnavailableError as exc:
        return str(exc)


async def test_a_broker_that_closes_after_connect_is_tried_with_growing_pauses() -> None:
    async with (
        raw_broker(Behaviour(closes_after_connect=True)) as broker,
        publishing(options_for(broker.port, retry_max_s=0.01), MemoryOutbox()) as publisher,
    ):
        await eventually(lambda: broker.connects >= 100)
        assert broker.open_connections <= 1
        assert "before CONNACK" in last_error(publisher)
        broker.behaviour.closes_after_connect = False
        await eventually(lambda: publisher.summary()["connected"])


async def test_a_stop_while_the_session_is_being_lost_is_still_a_stop() -> None:
    """Before Python 3.13 a failing TaskGroup loses a cancellation that comes at the same time."""
    for turns in range(12):
        async with (
            raw_broker() as broker,
            asyncio.timeout(5),
            publishing(options_for(broker.port, retry_max_s=60.0), MemoryOutbox()),
        ):
            await eventually(lambda: len(broker.published) == 2)
            broker.drop()
            for _ in range(turns):
                await asyncio.sleep(0)


@pytest.mark.parametrize(
    "garbage",
    [b"\xff\xff\xff\xff\xff\xff", b"\x40\x01\x00", b"\x20\x03\x00\x00\xff", b"\x00\x00", b"\xe0\x01\x8e"],
    ids=["length", "short-puback", "second-connack", "reserved", "disconnect-taken-over"],
)
async def test_garbage_from_the_broker_ends_the_session_and_the_next_one_delivers(garbage: bytes) -> None:
    outbox, metrics = MemoryOutbox(), Metrics()
    async with raw_broker() as broker, publishing(options_for(broker.port), outbox, metrics=metrics) as publisher:
        await eventually(lambda: len(broker.published) == 2)
        broker.send(garbage)
        broker.drop()
        await eventually(lambda: broker.connects == 2)
        outbox.add(1, 1)
        await eventually(lambda: outbox.confirmed.get(CLOUD, []) == [1])
        assert last_error(publisher)


async def test_a_disconnect_of_the_broker_is_told_with_its_reason() -> None:
    async with raw_broker() as broker, publishing(options_for(broker.port), MemoryOutbox()) as publisher:
        await eventually(lambda: len(broker.published) == 2)
        broker.send(b"\xe0\x01\x8e")
        await eventually(lambda: "Session taken over (0x8E)" in last_error(publisher))


async def test_an_exception_in_a_callback_ends_the_session_and_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = MemoryOutbox()
    real = Standing.accepted
    failures = iter([ZeroDivisionError("bug")])

    def fail_once(*arguments: object) -> None:
        for failure in failures:
            raise failure
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Standing, "accepted", fail_once)
    async with raw_broker() as broker, publishing(options_for(broker.port), outbox) as publisher:
        outbox.add(1, 1)
        await eventually(lambda: "ZeroDivisionError" in last_error(publisher))
        outbox.add(2, 1)
        await eventually(
            lambda: set(outbox.confirmed.get(CLOUD, [])) == {1, 2}, what="no zombie: a new session delivers"
        )
        assert broker.connects == 2
    assert any(record.exc_info for record in caplog.records), "a bug is logged with its traceback"


async def test_a_stop_is_polite_but_does_not_wait_for_a_broker_that_is_silent() -> None:
    behaviour = Behaviour()
    async with raw_broker(behaviour) as broker:
        async with publishing(options_for(broker.port), MemoryOutbox()):
            await eventually(lambda: len(broker.published) == 2)
        assert broker.disconnects == 1
        assert json.loads(broker.published[-1].payload)["state"] == "offline"


async def test_a_stop_ends_in_time_when_the_broker_is_silent() -> None:
    behaviour = Behaviour()
    async with raw_broker(behaviour) as broker:
        async with publishing(options_for(broker.port), MemoryOutbox()):
            await eventually(lambda: len(broker.published) == 2)
            behaviour.puback = lambda _published: None
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 3
        assert broker.disconnects == 0
        await eventually(lambda: not broker.open_connections)


async def test_what_is_acknowledged_while_stopping_is_confirmed() -> None:
    outbox = MemoryOutbox()
    behaviour = Behaviour(puback=lambda published: None if published.topic.endswith("data") else 0)
    async with raw_broker(behaviour) as broker, contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(publishing(options_for(broker.port), outbox))
        outbox.add(1, 1)
        await eventually(lambda: len(broker.unacknowledged) == 1)
        async with asyncio.TaskGroup() as group:
            group.create_task(stack.aclose())
            await eventually(lambda: "offline" in str(broker.published[-1].payload))
            broker.acknowledge(broker.unacknowledged[0])
        assert outbox.confirmed.get(CLOUD, []) == [1]
