"""The backlog beside what is live: its rate, its share of the window, its place in the order, its progress."""

import time
from typing import Any, cast

import pytest

from edge_agent.metrics import Metrics
from edge_agent.publish.options import ReplayOptions
from edge_agent.publish.publisher import Publisher
from edge_agent.testing.eventually import eventually
from tests.servers.memory_outbox import MemoryOutbox, make_row
from tests.servers.mosquitto import mosquitto
from tests.servers.publishing import options_for, publishing
from tests.servers.subscriber import Subscriber, subscriber

pytestmark = pytest.mark.slow
BACKLOG = 400


def rows(received: Subscriber) -> list[tuple[int, bool]]:
    return [(row["row"], row["historical"]) for m in received.on("/data") for row in m.json()["rows"]]


def progress(publisher: Publisher) -> dict[str, Any]:
    return cast("dict[str, Any]", publisher.summary()["replay"])


async def test_in_order_sends_the_backlog_first_and_then_what_is_live() -> None:
    outbox = MemoryOutbox(make_row(number) for number in range(1, BACKLOG + 1))
    replay = ReplayOptions(in_order=True)
    with mosquitto() as server, subscriber(server.port) as received:
        async with publishing(options_for(server.port, message_bytes=1024, replay=replay), outbox):
            await eventually(lambda: len(rows(received)) > 0)
            outbox.add(BACKLOG + 1, 50)
            await eventually(lambda: len(rows(received)) == BACKLOG + 50)
    numbers = [number for number, _ in rows(received)]
    assert numbers == sorted(numbers)
    assert [number for number, is_historical in rows(received) if not is_historical][-50:] == numbers[-50:]


async def test_live_rows_overtake_a_backlog_that_keeps_to_its_rate() -> None:
    outbox = MemoryOutbox(make_row(number, values=(1.0, 2.0)) for number in range(1, BACKLOG + 1))
    replay = ReplayOptions(rate=400)  # two readings a row: 200 rows a second
    metrics = Metrics()
    with mosquitto() as server, subscriber(server.port) as received:
        options = options_for(server.port, message_bytes=1024, replay=replay)
        async with publishing(options, outbox, metrics=metrics) as publisher:
            start_s = time.monotonic()
            await eventually(lambda: len(rows(received)) > 20)
            outbox.add(BACKLOG + 1, 5)
            await eventually(lambda: len([1 for _, is_historical in rows(received) if not is_historical]) == 5)
            assert len(rows(received)) < BACKLOG
            await eventually(lambda: progress(publisher)["eta_s"] not in {None, 0.0})
            pending = metrics.registry.get_sample_value(
                "edge_agent_replay_pending_readings", {"publisher": "cloud"}
            )
            assert pending is not None
            assert 0 < pending < 2 * BACKLOG
            await eventually(lambda: len(rows(received)) == BACKLOG + 5)
            assert time.monotonic() - start_s > 1.4
            await eventually(lambda: progress(publisher)["pending_readings"] == 0)
    numbers = [number for number, is_historical in rows(received) if is_historical]
    assert numbers == sorted(numbers)


async def test_gateways_that_come_back_together_do_not_begin_together() -> None:
    outbox = MemoryOutbox(make_row(number, values=[1.0] * 100) for number in range(1, BACKLOG + 1))
    with mosquitto() as server, subscriber(server.port) as received:
        async with publishing(options_for(server.port, message_bytes=1024), outbox, random=lambda: 0.1):
            start_s = time.monotonic()
            await eventually(lambda: len(rows(received)) > 0)
            assert time.monotonic() - start_s > 0.3
    topics = [message.topic.rpartition("/")[2] for message in received.messages]
    assert topics.index("health") < topics.index("data"), "the session does not wait, the backlog does"
