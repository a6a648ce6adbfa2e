"""What arrives from a server that is neither Python nor by the client library's authors."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from edge_agent.model import Quality, is_good
from edge_agent.testing.conformance import check_device
from edge_agent.testing.eventually import eventually
from edge_agent_opcua.decode import OVERFLOW
from tests.servers.opcua.reading import Collected, connect, first_of, make_device, points, read_once, reporting
from tests.servers.opcua_server import OpcUaServer, opcua_server

EXPECTED = {
    "Running": ("bool", 1),
    "Program": ("string", "O1234 齿轮"),
    "Label": ("string", "Spindle"),
    "Feed": ("float32", 1.5),
    "SByte": ("int8", -128),
    "Byte": ("uint8", 255),
    "Int16": ("int16", -32768),
    "Int32": ("int32", -(2**31)),
    "UInt32": ("uint32", 2**32 - 1),
    "PartCount": ("int64", 2**53 + 1),
    "UInt64": ("uint64", 2**64 - 1),
    "Started": ("string", "2026-01-02T03:04:05.678000Z"),
    "Guid": ("string", "72962b91-fa75-4ae6-8d28-b404dc7daf63"),
    "Blob": ("bytes", b"\x00\x01\xff"),
    "State": ("int32", 1),
    "Xml": ("string", "<a/>"),
    "NodeId": ("string", "ns=2;s=Axis"),
    "ExpandedNodeId": ("string", "ns=2;i=5"),
    "StatusCode": ("uint32", Quality.BAD_SENSOR_FAILURE),
    "QualifiedName": ("string", "2:Axis"),
    "Variant_Int16": ("int16", -5),
    "Axes": ("string", "[1.0,2.0,3.0]"),
    "Matrix": ("string", "[[1,2,3],[4,5,6]]"),
    "Texts": ("string", '["齿轮","",null]'),
    "Flags": ("string", "[true,false]"),
    "Counts": ("string", '[1,"9007199254740993"]'),
    "Blobs": ("string", '["AP8=",null]'),
    "Moments": ("string", '["2026-01-02T03:04:05.678000Z"]'),
    "Empty": ("string", "[]"),
}
FLOATS = [f"Float.{i:03}" for i in range(250)]
MODES = ["subscribe", "poll"]


@pytest.fixture(scope="module")
def server() -> Iterator[OpcUaServer]:
    with opcua_server() as running:
        yield running


@pytest.fixture(scope="module")
def limited_server() -> Iterator[OpcUaServer]:
    with opcua_server(limits={"maxNodesPerRead": 100, "maxMonitoredItemsPerCall": 100}) as running:
        yield running


@pytest.mark.parametrize("mode", MODES)
async def test_the_driver_conforms(server: OpcUaServer, mode: str) -> None:
    names = ["Running", "Broken", "Counter", "Nowhere"]
    device, _ = make_device(server.url, points(names), mode=mode)
    await check_device(device, point_count=len(names))


async def test_a_device_that_both_polls_and_reports_conforms(server: OpcUaServer) -> None:
    table = [*points(["Sine", "Counter"]), *points(["Feed", "Axes"], mode="poll")]
    device, _ = make_device(server.url, table)
    await check_device(device, point_count=4)


@pytest.mark.parametrize("mode", MODES)
async def test_types_and_values_are_the_servers(server: OpcUaServer, mode: str) -> None:
    names = [name.replace("Variant_", "Variant.") for name in EXPECTED]
    device, config = make_device(server.url, points(names), mode=mode)
    got = await first_of(device, config, mode, len(EXPECTED))
    assert {name: (reading.type, reading.value) for name, reading in got.items()} == EXPECTED
    assert {reading.status for reading in got.values()} == {0}


@pytest.mark.parametrize("mode", MODES)
async def test_times_are_the_sources(server: OpcUaServer, mode: str) -> None:
    device, config = make_device(server.url, points(["Stamped", "Sine"]), mode=mode)
    got = await first_of(device, config, mode, 2)
    assert got["Stamped"].time_ns == 1_767_323_045_678_000_000
    assert abs(got["Sine"].time_ns - time.time_ns()) < 60e9


@pytest.mark.parametrize("mode", MODES)
async def test_peer_defect_03_a_bad_status_is_null_and_a_quality_never_a_text(
    server: OpcUaServer, mode: str
) -> None:
    names = ["Broken", "NotANumber", "Doubtful", "Nowhere"]
    table = [*points(names), {"name": "no_namespace", "node": "nsu=urn:nobody;i=1"}]
    device, config = make_device(server.url, table, mode=mode)
    got = await first_of(device, config, mode, 5)
    assert {name: (reading.value, reading.status) for name, reading in got.items()} == {
        "Broken": (None, Quality.BAD_SENSOR_FAILURE),
        "NotANumber": (None, Quality.BAD_OUT_OF_RANGE),
        "Doubtful": (7.5, Quality.UNCERTAIN_LAST_USABLE_VALUE),
        "Nowhere": (None, Quality.BAD_NODE_ID_UNKNOWN),
        "no_namespace": (None, Quality.BAD_NODE_ID_UNKNOWN),
    }


@pytest.mark.parametrize("mode", MODES)
async def test_peer_defect_02_values_keep_their_names_across_the_servers_limits(
    limited_server: OpcUaServer, mode: str
) -> None:
    device, config = make_device(limited_server.url, points(FLOATS), mode=mode)
    got = await first_of(device, config, mode, 250)
    assert {name: reading.value for name, reading in got.items()} == {f"Float_{i:03}": i + 0.5 for i in range(250)}


@pytest.mark.parametrize("mode", MODES)
async def test_peer_defect_13_one_bad_node_of_250_costs_no_other(limited_server: OpcUaServer, mode: str) -> None:
    names = [*FLOATS[:120], "Nowhere", *FLOATS[121:]]
    device, config = make_device(limited_server.url, points(names), mode=mode)
    got = await first_of(device, config, mode, 250)
    assert got.pop("Nowhere").status == Quality.BAD_NODE_ID_UNKNOWN
    assert len(got) == 249
    assert all(is_good(reading.status) for reading in got.values())


async def test_changes_between_two_publications_all_arrive_in_order(server: OpcUaServer) -> None:
    table = points(["Counter", "Flicker"], sampling_interval="10ms")
    device, config = make_device(server.url, table, publishing_interval="500ms")
    async with reporting(device, config) as collected:
        await eventually(lambda: len(collected.batches) >= 4)
    counts = [reading.value for name, reading in collected.all if name == "Counter"]
    assert len(counts) >= 20
    assert counts == sorted(set(counts))
    assert counts[-1] - counts[0] + 1 - len(counts) <= 3  # a busy server skips a sample now and then by itself
    flicker = [reading for name, reading in collected.all if name == "Flicker"]
    times = [reading.time_ns for reading in flicker if reading.type != "null"]
    assert times == sorted(times)
    assert {reading.status for reading in flicker} == {0, Quality.BAD_NO_COMMUNICATION}


async def test_samples_that_the_servers_queue_lost_are_flagged(server: OpcUaServer) -> None:
    table = points(["Counter"], sampling_interval="10ms")
    device, config = make_device(server.url, table, publishing_interval="500ms", queue_size=3)
    async with reporting(device, config) as collected:
        await eventually(lambda: len(collected.batches) >= 3)
    counts = [reading.value for _, reading in collected.all]
    assert counts[-1] - counts[0] > len(counts), "nothing was lost"
    assert any(reading.status & OVERFLOW == OVERFLOW for _, reading in collected.all)


async def test_polls_and_reports_go_side_by_side(server: OpcUaServer) -> None:
    table = [*points(["Counter"]), *points(["Sine"], mode="poll")]
    device, config = make_device(server.url, table)
    session, collected = await connect(device), Collected(config)
    try:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(session.run(collected.emit))
            (request,) = device.plan(device.polled, frozenset())
            for _ in range(50):
                assert len(await session.read(request)) == 1
            await eventually(lambda: len(collected.batches) > 3)
            running.cancel()
    finally:
        await session.close()


async def test_a_numeric_node_id_by_index_works(server: OpcUaServer) -> None:
    table = [{"name": "numeric", "node": "ns=2;i=5001"}, {"name": "clock", "node": "i=2258"}]
    device, config = make_device(server.url, table, mode="poll")
    got = await read_once(device, config)
    assert got["numeric"].value == 65535
    assert str(got["clock"].value).startswith("20")
