"""A thousand changes a second, published ten times a second: complete as far as the server's queue goes."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from edge_agent.model import LossReason
from edge_agent.testing.eventually import eventually
from edge_agent_opcua.decode import OVERFLOW
from tests.servers.opcua.reading import make_device, points, reporting
from tests.servers.opcua_server import OpcUaServer, opcua_server

pytestmark = pytest.mark.slow
SECONDS = 3


@pytest.fixture(scope="module")
def server() -> Iterator[OpcUaServer]:
    with opcua_server(fast=True) as running:
        yield running


async def counted(server: OpcUaServer, queue_size: int) -> tuple[list[tuple[int, int]], int, set[LossReason]]:
    """Return values with statuses, how many readings at the least were told to be lost, and why."""
    device, config = make_device(server.url, points(["Fast"], sampling_interval="0s"), queue_size=queue_size)
    async with reporting(device, config) as collected:

        def is_enough() -> bool:
            values = [reading.value for _, reading in collected.all]
            return bool(values) and values[-1] - values[0] > SECONDS * 1000

        await eventually(is_enough, within_s=30)
    told = [(reading.value, reading.status) for _, reading in collected.all]
    return told, sum(lost.readings for lost in collected.lost), {lost.reason for lost in collected.lost}


async def test_all_of_them_arrive_if_the_queue_holds_them(server: OpcUaServer) -> None:
    told, lost, _ = await counted(server, 2000)
    values = [value for value, _ in told]
    assert len(values) > SECONDS * 1000
    assert values == list(range(values[0], values[0] + len(values)))
    assert lost == 0


async def test_what_the_queue_does_not_hold_is_flagged_where_it_is_missing(
    server: OpcUaServer,
) -> None:
    told, lost, reasons = await counted(server, 20)
    holes = [after for (before, _), (after, _) in pairwise(told) if after != before + 1]
    flagged = [value for value, status in told if status & OVERFLOW == OVERFLOW]
    assert holes
    assert set(holes) <= set(flagged), "readings are missing and nothing says so"
    assert lost == len(flagged)
    assert reasons == {LossReason.OVERFLOW}
