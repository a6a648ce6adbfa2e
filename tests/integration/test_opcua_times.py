"""The time of the source and the time of the server, as two servers tell them."""

import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncua import Server, ua

from edge_agent.testing.eventually import eventually
from tests.servers.opcua.open_asyncua import open_asyncua
from tests.servers.opcua.reading import Reading, first_of, make_device, points, reporting
from tests.servers.opcua_server import OpcUaServer, opcua_server

MODES = ["subscribe", "poll"]
HOUR = timedelta(hours=1)
NOON = datetime(2026, 1, 2, 12, 0, 0, 5, UTC)
NEVER, TOO_LATE = datetime(1601, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
TOLD = {
    "Both": (NOON - 3 * HOUR, NOON),
    "Behind": (NOON, NOON - 3 * HOUR),
    "Same": (NOON, NOON),
    "SourceOnly": (NOON, None),
    "ServerOnly": (None, NOON),
    "SourceNever": (NEVER, NOON),
    "SourceTooLate": (TOO_LATE, NOON),
    "ServerTooLate": (NOON, TOO_LATE),
    "Neither": (None, None),
}
"""What a server tells of each variable: source and server time."""


@pytest.fixture(scope="module")
def node_opcua() -> Iterator[OpcUaServer]:
    with opcua_server(floats=0) as running:
        yield running


@pytest.fixture
async def asyncua() -> AsyncIterator[tuple[str, Server]]:
    server, url, index = await open_asyncua()
    server.set_force_server_timestamp(False)
    for name, (source, told) in TOLD.items():
        node = await server.nodes.objects.add_variable(ua.NodeId(name, index), name, 1.5)
        variant = ua.Variant(1.5, ua.VariantType.Double)
        await node.write_value(ua.DataValue(variant, SourceTimestamp=source, ServerTimestamp=told))
    async with server:
        yield url, server


def ns(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


async def readings_of(url: str, names: list[str], mode: str, **more: Any) -> dict[str, Reading]:
    device, config = make_device(url, points(names, **more), mode=mode)
    return await first_of(device, config, mode, len(names))


async def test_a_server_that_heard_of_its_source_hours_after(node_opcua: OpcUaServer) -> None:
    got = (await readings_of(node_opcua.url, ["Dated"], "subscribe"))["Dated"]
    assert got.time_ns == ns(datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC))
    assert got.server_ns == ns(datetime(2026, 1, 2, 9, 4, 5, 679_000, UTC))


async def test_a_server_that_is_asked_dates_what_its_source_dated_months_ago(node_opcua: OpcUaServer) -> None:
    got = (await readings_of(node_opcua.url, ["Stamped"], "poll"))["Stamped"]
    assert got.time_ns == ns(datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC))
    assert abs(got.server_ns - time.time_ns()) < 60e9


async def test_an_element_of_an_array_has_the_times_of_the_array(node_opcua: OpcUaServer) -> None:
    element = (await readings_of(node_opcua.url, ["Axes"], "poll", element=1))["Axes"]
    assert element.value == 2.0
    assert element.time_ns < element.server_ns


@pytest.mark.parametrize("mode", MODES)
async def test_times_that_are_missing_or_make_no_sense_cost_no_other(
    asyncua: tuple[str, Server], mode: str
) -> None:
    url, _ = asyncua
    got = await readings_of(url, list(TOLD), mode)
    arrived = got.pop("Neither")
    assert {name: (reading.time_ns, reading.server_ns) for name, reading in got.items()} == {
        "Both": (ns(NOON - 3 * HOUR), ns(NOON)),
        "Behind": (ns(NOON), ns(NOON - 3 * HOUR)),
        "Same": (ns(NOON), ns(NOON)),
        "SourceOnly": (ns(NOON), ns(NOON)),
        "ServerOnly": (ns(NOON), ns(NOON)),
        "SourceNever": (ns(NOON), ns(NOON)),
        "SourceTooLate": (ns(NOON), ns(NOON)),
        "ServerTooLate": (ns(NOON), ns(NOON)),
    }
    assert abs(arrived.time_ns - time.time_ns()) < 60e9
    assert arrived.server_ns == arrived.time_ns
    assert {reading.value for reading in (arrived, *got.values())} == {1.5}


async def test_an_event_has_the_time_when_it_happened_and_that_when_the_server_came_to_know_of_it(
    asyncua: tuple[str, Server],
) -> None:
    url, server = asyncua
    events = await server.get_event_generator()
    happened = datetime.now(UTC).replace(microsecond=7) - 3 * HOUR
    device, config = make_device(url, [{"name": "log", "node": "i=2253", "events": "all"}])
    async with reporting(device, config) as collected:
        await eventually(lambda: collected.all, what="in sync")
        await events.trigger(time_attr=happened, message="told late")
        await eventually(lambda: len(collected.all) == 2)
    (_, in_sync), (_, late) = collected.all
    assert "told late" in late.value
    assert late.time_ns == ns(happened)
    assert abs(late.server_ns - time.time_ns()) < 60e9
    assert in_sync.server_ns == in_sync.time_ns, "what the agent says itself"
