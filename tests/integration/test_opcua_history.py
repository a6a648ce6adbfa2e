"""The plug is pulled and put back: what the server kept meanwhile comes afterwards, marked, and nothing twice."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise

import pytest

from edge_agent.testing.eventually import eventually
from tests.servers.link import Link, proxy
from tests.servers.opcua.disasters import Plant
from tests.servers.opcua.reading import Reading, points, readings
from tests.servers.opcua_server import opcua_server
from tests.servers.supervised_opcua import SKIPPED, Supervised

pytestmark = pytest.mark.slow
OUTAGE_S = 3.0


@pytest.fixture(scope="module")
def plant() -> Iterator[Plant]:
    with opcua_server(history=True) as server, proxy(server.port) as way:
        yield Plant(server, way)


def counted(device: Supervised, *, historical: bool) -> list[Reading]:
    return [
        reading
        for batch in device.kept
        if batch.historical is historical
        for point, reading in readings(batch, device.config)
        if point == "Counter" and reading.value is not None
    ]


async def pull_and_put_back(device: Supervised, plant: Plant, outages: int = 1) -> None:
    async with device.running():
        await eventually(lambda: device.is_fresh)
        for number in range(1, outages + 1):
            plant.way.link = Link.HALF_OPEN
            await eventually(lambda number=number: device.losses == number)  # type: ignore[misc]
            await asyncio.sleep(OUTAGE_S)
            plant.way.link = Link.GOOD
            fetched = len(counted(device, historical=True))
            await eventually(lambda: device.is_fresh)
            await eventually(lambda fetched=fetched: len(counted(device, historical=True)) > fetched)  # type: ignore[misc]
        count = len(counted(device, historical=False))
        await eventually(lambda: len(counted(device, historical=False)) > count + 5)


async def test_an_outage_is_filled_from_the_history_without_a_hole_and_without_a_duplicate(plant: Plant) -> None:
    device = Supervised(plant.url, more=points(["Feed"]), sampling_interval="10ms")
    await pull_and_put_back(device, plant, outages=2)
    live, fetched = counted(device, historical=False), counted(device, historical=True)
    values = sorted(reading.value for reading in fetched)
    assert values == sorted(set(values)), "the history came twice"
    (pause,) = (at for at, (before, after) in enumerate(pairwise(values), 1) if after != before + 1)
    assert min(pause, len(values) - pause) > 20, "two outages, each without a hole"
    both = {reading.value for reading in live} & set(values)
    # What held when the server was asked anew is told with that time, beside its history.
    assert len(both) <= 2
    told = sorted({reading.value for reading in live} | set(values))
    assert max(after - before for before, after in pairwise(told)) <= 1 + SKIPPED
    assert [lost.points for lost in device.lost] == [(2,)] * 2, "Feed has no history"
    times = [reading.time_ns for reading in fetched]
    assert len(set(times)) == len(times)


async def test_without_backfill_the_outage_is_a_loss(plant: Plant) -> None:
    device = Supervised(plant.url, backfill=False)
    async with device.running():
        await eventually(lambda: device.is_fresh)
        plant.way.link = Link.HALF_OPEN
        await eventually(lambda: device.losses)
        plant.way.link = Link.GOOD
        await eventually(lambda: device.is_fresh)
    assert counted(device, historical=True) == []
    assert [lost.points for lost in device.lost] == [(0,)]


async def test_what_the_history_gives_is_not_the_present(plant: Plant) -> None:
    device = Supervised(plant.url)
    await pull_and_put_back(device, plant)
    latest = device.current.latest(0)
    assert latest.time_ns >= max(reading.time_ns for reading in counted(device, historical=True))
    count = device.metrics.registry.get_sample_value("edge_agent_backfilled_readings_total", {"device": "cnc"})
    assert count is not None
    assert count >= len(counted(device, historical=True)) > 0
