"""The driver against the server of its own library (the demo's machine), and what importing it costs."""

import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from asyncua import ua
from asyncua.common.structures104 import new_struct, new_struct_field

from edge_agent.model import Quality
from edge_agent.testing.conformance import check_device
from tests.servers.opcua.open_asyncua import open_asyncua
from tests.servers.opcua.reading import first_of, make_device, points, read_once, reporting

Kind = ua.VariantType
TYPES: dict[str, tuple[Any, Any, str, Any]] = {
    "Boolean": (True, Kind.Boolean, "bool", 1),
    "SByte": (-128, Kind.SByte, "int8", -128),
    "Byte": (255, Kind.Byte, "uint8", 255),
    "Int16": (-(2**15), Kind.Int16, "int16", -(2**15)),
    "UInt16": (2**16 - 1, Kind.UInt16, "uint16", 2**16 - 1),
    "Int32": (-(2**31), Kind.Int32, "int32", -(2**31)),
    "UInt32": (2**32 - 1, Kind.UInt32, "uint32", 2**32 - 1),
    "Int64": (-(2**63), Kind.Int64, "int64", -(2**63)),
    "UInt64": (2**64 - 1, Kind.UInt64, "uint64", 2**64 - 1),
    "Float": (1.5, Kind.Float, "float32", 1.5),
    "Double": (0.1, Kind.Double, "float64", 0.1),
    "String": ("齿轮", Kind.String, "string", "齿轮"),
    "DateTime": (datetime(2026, 1, 2, 3, 4, 5, 6, UTC), Kind.DateTime, "string", "2026-01-02T03:04:05.000006Z"),
    "Guid": (UUID(int=5), Kind.Guid, "string", str(UUID(int=5))),
    "ByteString": (b"\x00\xff", Kind.ByteString, "bytes", b"\x00\xff"),
    "XmlElement": (ua.XmlElement("<a/>"), Kind.XmlElement, "string", "<a/>"),
    "NodeId": (ua.NodeId("Axis", 2), Kind.NodeId, "string", "ns=2;s=Axis"),
    "ExpandedNodeId": (ua.ExpandedNodeId(5, 2), Kind.ExpandedNodeId, "string", "ns=2;i=5"),
    "StatusCode": (ua.StatusCode(0x80020000), Kind.StatusCode, "uint32", 0x80020000),
    "QualifiedName": (ua.QualifiedName("Axis", 2), Kind.QualifiedName, "string", "2:Axis"),
    "LocalizedText": (ua.LocalizedText("Spindle", "en"), Kind.LocalizedText, "string", "Spindle"),
    "Doubles": ([1.0, 2.0], Kind.Double, "string", "[1.0,2.0]"),
    "Variants": ([ua.Variant(1, Kind.Int16), ua.Variant("a")], Kind.Variant, "string", '[1,"a"]'),
}
NODES = {"Speed": 1200.5, "Program": "O1", "Running": True}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    server, url, index = await open_asyncua()
    for name, content in NODES.items():
        await server.nodes.objects.add_variable(ua.NodeId(name, index), name, content)
    for name, (content, kind, *_) in TYPES.items():
        await server.nodes.objects.add_variable(
            ua.NodeId(name, index), name, ua.Variant(content, kind), datatype=ua.NodeId(24)
        )
    await _add_structure(server, index)
    async with server:
        yield url


async def _add_structure(server: Any, index: int) -> None:
    turn = new_struct_field("Turn", Kind.Int16, array=True)
    turn.ValueRank, turn.ArrayDimensions = 2, [2, 2]  # which asyncua sends with one dimension
    await new_struct(
        server,
        index,
        "Tool",
        [
            new_struct_field("Number", Kind.UInt16),
            new_struct_field("Name", Kind.String, optional=True),
            new_struct_field("Offsets", Kind.Double, array=True),
            turn,
        ],
    )
    await server.load_data_type_definitions()
    tool = ua.Tool(Number=7, Name=None, Offsets=[0.5, 0.25], Turn=[1, 0, 0, 1])
    kind = ua.extension_objects_by_datatype
    data_type = next(node for node, cls in kind.items() if cls is ua.Tool)
    await server.nodes.objects.add_variable(
        ua.NodeId("Tool", index), "Tool", ua.Variant(tool, Kind.ExtensionObject), datatype=data_type
    )


@pytest.mark.parametrize("mode", ["subscribe", "poll"])
async def test_every_built_in_type_arrives(url: str, mode: str) -> None:
    device, config = make_device(url, points(TYPES), mode=mode)
    got = await first_of(device, config, mode, len(TYPES))
    told = {name: (reading.type, reading.value) for name, reading in got.items()}
    assert told == {name: (kind, value) for name, (_, _, kind, value) in TYPES.items()}


async def test_fields_of_a_structure_arrive(url: str) -> None:
    fields = ["Number", "Offsets.1", "Name", "Turn", "*"]
    table = [points(["Tool"], field=field)[0] | {"name": f"p{i}"} for i, field in enumerate(fields)]
    device, config = make_device(url, table, mode="poll")
    got = await read_once(device, config)
    assert {name: (reading.value, reading.status) for name, reading in got.items()} == {
        "p0": (7, 0),
        "p1": (0.25, 0),
        "p2": (None, Quality.BAD_NO_DATA),
        "p3": ("[[1,0],[0,1]]", 0),
        "p4": ('{"Number":7,"Offsets":[0.5,0.25],"Turn":[[1,0],[0,1]]}', 0),
    }


@pytest.mark.parametrize("mode", ["subscribe", "poll"])
async def test_the_driver_conforms_against_asyncuas_server(url: str, mode: str) -> None:
    device, _ = make_device(url, points([*NODES, "Nowhere"]), mode=mode)
    await check_device(device, point_count=4)


async def test_values_arrive_from_asyncuas_server(url: str) -> None:
    device, config = make_device(url, points(NODES))
    async with reporting(device, config) as collected:
        got = await collected.all_of(len(NODES))
    assert {name: reading.value for name, reading in got.items()} == NODES


def test_naming_the_driver_does_not_load_asyncua() -> None:
    code = "import sys, edge_agent_opcua; sys.exit('asyncua' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
