"""The driver against a third server, in C: what most controllers and gateways have inside."""

from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from edge_agent.model import Quality, is_good
from edge_agent.testing.conformance import check_device
from edge_agent.testing.eventually import eventually
from tests.servers.opcua.reading import first_of, make_device, points
from tests.servers.open62541 import open62541_server
from tests.servers.supervised_opcua import Supervised

EXPECTED = {
    "Boolean": ("bool", 1),
    "SByte": ("int8", -(2**7)),
    "Byte": ("uint8", 2**8 - 1),
    "Int16": ("int16", -(2**15)),
    "UInt16": ("uint16", 2**16 - 1),
    "Int32": ("int32", -(2**31)),
    "UInt32": ("uint32", 2**32 - 1),
    "Int64": ("int64", -(2**63)),
    "UInt64": ("uint64", 2**64 - 1),
    "Float": ("float32", 1.5),
    "Double": ("float64", 0.1),
    "String": ("string", "齿轮"),
    "DateTime": ("string", "2026-01-02T03:04:05.678000Z"),
    "Guid": ("string", "72962b91-fa75-4ae6-8d28-b404dc7daf63"),
    "ByteString": ("bytes", b"\x00\xff"),
    "XmlElement": ("string", "<a/>"),
    "NodeId": ("string", "ns=2;s=Axis"),
    "ExpandedNodeId": ("string", "ns=2;i=5"),
    "QualifiedName": ("string", "2:Axis"),
    "LocalizedText": ("string", "Spindle"),
    "Doubles": ("string", "[1.0,2.0]"),
    "Matrix": ("string", "[[1,2,3],[4,5,6]]"),
    "Texts": ("string", '["齿轮","O1"]'),
}
MODES = ["subscribe", "poll"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with open62541_server(1000) as port:
        yield f"opc.tcp://127.0.0.1:{port}"


@pytest.mark.parametrize("mode", MODES)
async def test_the_driver_conforms(url: str, mode: str) -> None:
    names = ["Boolean", "Counter", "String", "Nowhere"]
    device, _ = make_device(url, points(names), mode=mode)
    await check_device(device, point_count=len(names))


@pytest.mark.parametrize("mode", MODES)
async def test_types_and_values_are_the_servers(url: str, mode: str) -> None:
    device, config = make_device(url, points(EXPECTED), mode=mode)
    got = await first_of(device, config, mode, len(EXPECTED))
    assert {name: (reading.type, reading.value) for name, reading in got.items()} == EXPECTED
    assert {reading.status for reading in got.values()} == {0}


@pytest.mark.parametrize("mode", MODES)
async def test_one_bad_node_of_1000_costs_no_other(url: str, mode: str) -> None:
    names = [f"Float.{i:03}" for i in range(1000)]
    names[500] = "Nowhere"
    device, config = make_device(url, points(names), mode=mode)
    got = await first_of(device, config, mode, 1000)
    assert got.pop("Nowhere").status == Quality.BAD_NODE_ID_UNKNOWN
    assert {name: reading.value for name, reading in got.items()} == {
        f"Float_{i:03}": i + 0.5 for i in range(1000) if i != 500
    }
    assert all(is_good(reading.status) for reading in got.values())


@pytest.mark.slow
async def test_data_flow_again_by_themselves_when_the_server_was_killed() -> None:
    async with AsyncExitStack() as stack:
        with open62541_server() as port:
            device = Supervised(f"opc.tcp://127.0.0.1:{port}", retry_max_s=0.5)
            await stack.enter_async_context(device.running())
            await eventually(lambda: device.is_fresh)
        await eventually(lambda: device.losses)
        with open62541_server(port=port):
            await eventually(lambda: device.is_fresh)
            await stack.aclose()
    assert (device.losses, len(device.lost)) == (1, 1)
    assert device.holes_not_told() == []
