"""The publisher with the real outbox, through outages of Mosquitto and restarts of its own."""

import asyncio
import json
from array import array
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from edge_agent.clock import SystemClock
from edge_agent.metrics import Metrics
from edge_agent.model import Column, DataType, DeviceId, Point, PointName, PointTable, PublisherId, ReadingBatch
from edge_agent.outbox.options import OutboxOptions
from edge_agent.outbox.store import Outbox
from edge_agent.testing.eventually import eventually
from tests.model.outbox_kit import account
from tests.servers.memory_outbox import T0_NS
from tests.servers.mosquitto import Mosquitto, mosquitto
from tests.servers.publishing import options_for, publishing
from tests.servers.subscriber import Subscriber, subscriber

pytestmark = pytest.mark.slow
DEVICE = DeviceId("press-01")
TABLE = PointTable(DEVICE, (Point(PointName("count"), unit="1"),))
CLOUD, OTHER = PublisherId("cloud"), PublisherId("other")


@asynccontextmanager
async def outbox_in(
    directory: Path, metrics: Metrics | None = None, max_bytes: int = 2**30
) -> AsyncIterator[Outbox]:
    options = OutboxOptions(directory, commit_interval_s=0.02, max_bytes=max_bytes)
    outbox = await Outbox.open(options, [CLOUD, OTHER], clock=SystemClock(), metrics=metrics or Metrics())
    try:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(outbox.run())
            try:
                yield outbox
            finally:
                running.cancel()
    finally:
        await outbox.close()


async def append(outbox: Outbox, numbers: range) -> None:
    """Append readings whose values are their numbers, in rows of ten."""
    for first in range(numbers.start, numbers.stop, 10):
        for number in range(first, min(first + 10, numbers.stop)):
            column = Column(DataType.UINT32, array("H", [0]), array("I", [number]))
            await outbox.append(TABLE, ReadingBatch(DEVICE, T0_NS + number * 10**6, (column,)))
        await outbox.flush()


def values(received: Subscriber, *, historical: bool | None = None) -> list[int]:
    return [
        value
        for message in received.on("/data")
        for row in message.json()["rows"]
        if historical in {None, row["historical"]}
        for value in row["points"]["count"]["v"]
    ]


@contextmanager
def mosquitto_again(server: Mosquitto) -> Iterator[Subscriber]:
    """Start a broker and subscribe before the loop, and with it the publisher, has a turn."""
    server.start()
    with subscriber(server.port) as received:
        yield received


def is_in_order(received: Subscriber) -> bool:
    """Each stream is; between the two there is no order."""
    streams = [values(received, historical=historical) for historical in (True, False)]
    return all(stream == sorted(set(stream)) for stream in streams)


async def test_an_outage_in_the_middle_loses_nothing_and_keeps_the_order(tmp_path: Path) -> None:
    with mosquitto() as server:
        async with outbox_in(tmp_path) as outbox, publishing(options_for(server.port), outbox) as publisher:
            with subscriber(server.port) as before:
                await append(outbox, range(100))
                await eventually(lambda: set(values(before)) == set(range(100)))
                assert is_in_order(before)
                await asyncio.to_thread(server.kill)
            await append(outbox, range(100, 200))
            await eventually(lambda: not publisher.summary()["connected"])
            with mosquitto_again(server) as after:
                await append(outbox, range(200, 300))
                await eventually(lambda: set(range(100, 300)) <= set(values(after)))
                assert is_in_order(after)


async def test_a_stop_with_a_backlog_loses_nothing_and_marks_it_historical(tmp_path: Path) -> None:
    with mosquitto(is_started=False) as server:
        async with outbox_in(tmp_path) as outbox, publishing(options_for(server.port), outbox):
            await append(outbox, range(100))
        await asyncio.to_thread(server.start)
        with subscriber(server.port) as received:
            async with outbox_in(tmp_path) as outbox, publishing(options_for(server.port), outbox):
                await eventually(lambda: values(received, historical=True) == list(range(100)))
                await append(outbox, range(100, 110))
                await eventually(lambda: values(received, historical=False) == list(range(100, 110)))
            async with outbox_in(tmp_path) as outbox, publishing(options_for(server.port), outbox):
                await append(outbox, range(110, 120))
                await eventually(lambda: set(values(received)) == set(range(120)))
    assert len(values(received)) == 120, "what was acknowledged is not sent again after a restart"


async def test_each_of_two_publishers_gets_everything_while_one_is_away(tmp_path: Path) -> None:
    with mosquitto() as server, mosquitto(is_started=False) as away, subscriber(server.port) as received:
        async with (
            outbox_in(tmp_path) as outbox,
            publishing(options_for(away.port, id=OTHER), outbox),
            publishing(options_for(server.port), outbox),
        ):
            await append(outbox, range(100))
            await eventually(lambda: set(values(received)) == set(range(100)))
            with mosquitto_again(away) as later:
                await eventually(lambda: set(values(later)) == set(range(100)))
                assert is_in_order(later)


async def test_an_outage_longer_than_the_bound_is_told_to_the_broker_that_missed_something(tmp_path: Path) -> None:
    schema = json.loads((files("edge_agent.publish") / "schema" / "edge.gap-1.json").read_text())
    with mosquitto() as server, mosquitto(is_started=False) as away, subscriber(server.port) as received:
        async with (
            outbox_in(tmp_path, max_bytes=300_000) as outbox,
            publishing(options_for(away.port, id=OTHER), outbox),
            publishing(options_for(server.port), outbox),
        ):
            for first in range(0, 20_000, 100):
                await append(outbox, range(first, first + 100))
            await eventually(lambda: len(values(received)) == 20_000)
            assert sorted(values(received)) == list(range(20_000))  # what came before the session came as replay
            with mosquitto_again(away) as later:
                await eventually(lambda: account(outbox, OTHER)["pending"] == 0)
                gaps = [message.json() for message in later.on("/gap")]
                missing = set(range(20_000)) - set(values(later))
                assert missing
                assert is_in_order(later)
            for gap in gaps:
                jsonschema.validate(gap, schema)
            told = {gap["row"]: gap["readings"] for gap in gaps}
            assert sum(told.values()) == len(missing) == account(outbox, OTHER)["dropped"]
            assert {gap["reason"] for gap in gaps} == {"full"}
            assert account(outbox, CLOUD)["dropped"] == 0
    assert received.on("/gap") == []
