"""Parts and texts of values, from servers of two makes: elements of arrays, fields of structures, enumerations."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from edge_agent.model import Quality
from tests.servers.opcua.reading import first_of, make_device, points, read_once
from tests.servers.opcua_server import OpcUaServer, opcua_server

AXIS = {
    "Name": "X1",
    "Position": {"X": 1.5, "Y": -1.5},
    "Limits": [-100.0, 100.0],
    "Path": [{"X": 1.0, "Y": 2.0}, {"X": 3.0, "Y": 4.0}],
    "Busy": 2500.0,
    "Label": "轴",
    "State": 20,
    "Turn": [[1.0, 0.0, 0.5], [0.0, 1.0, 0.25]],
}
PARTS: list[tuple[str, dict[str, Any], str, Any, int]] = [
    ("Axis", {"field": "Position.X"}, "float64", 1.5, 0),
    ("Axis", {"field": "Path.1.Y"}, "float64", 4.0, 0),
    ("Axis", {"field": "Limits.0"}, "float64", -100.0, 0),
    ("Axis", {"field": "Limits"}, "string", "[-100.0,100.0]", 0),
    ("Axis", {"field": "Label"}, "string", "轴", 0),
    ("Axis", {"field": "Busy"}, "float64", 2500.0, 0),
    ("Axis", {"field": "State"}, "int32", 20, 0),
    ("Axis", {"field": "Turn"}, "string", "[[1.0,0.0,0.5],[0.0,1.0,0.25]]", 0),
    ("Axis", {"field": "Turn.5"}, "float64", 0.25, 0),
    ("Axis", {"field": "Position"}, "string", '{"X":1.5,"Y":-1.5}', 0),
    ("Axis", {"field": "Nowhere"}, "null", None, Quality.BAD_NO_DATA),
    ("Axis", {"field": "Limits.2"}, "null", None, Quality.BAD_INDEX_RANGE_NO_DATA),
    ("Axis", {}, "null", None, Quality.BAD_NOT_SUPPORTED),
    ("AllAxes", {"element": 1, "field": "Name"}, "string", "Y1", 0),
    ("AllAxes", {"element": 2, "field": "Name"}, "null", None, Quality.BAD_INDEX_RANGE_NO_DATA),
    ("Order.Full", {"field": "Customer"}, "string", "ACME", 0),
    ("Order.Full", {"field": "Rest"}, "int32", 3, 0),
    ("Order.Short", {"field": "Number"}, "int32", 8, 0),
    ("Order.Short", {"field": "Rest"}, "int32", 4, 0),
    ("Order.Short", {"field": "Customer"}, "null", None, Quality.BAD_NO_DATA),
    ("Measured.Number", {"field": "Number"}, "float64", 2.25, 0),
    ("Measured.Text", {"field": "Text"}, "string", "n/a", 0),
    ("Measured.Text", {"field": "Number"}, "null", None, Quality.BAD_NO_DATA),
    ("Axes", {"element": 2}, "float64", 3.0, 0),
    ("Axes", {"element": 3}, "null", None, Quality.BAD_INDEX_RANGE_NO_DATA),
    ("Feed", {"element": 0}, "null", None, Quality.BAD_INDEX_RANGE_NO_DATA),
    ("Alarmed", {"labels": "server"}, "string", "警报", 0),
    ("Alarmed.Odd", {"labels": "server"}, "string", "15", Quality.UNCERTAIN),
    ("State", {"labels": "server"}, "string", "Running", 0),
    ("State", {}, "int32", 1, 0),
]


@pytest.fixture(scope="module")
def server() -> Iterator[OpcUaServer]:
    with opcua_server(structures=True, floats=0) as running:
        yield running


@pytest.mark.parametrize("mode", ["subscribe", "poll"])
async def test_parts_and_texts_are_readings(server: OpcUaServer, mode: str) -> None:
    table = [points([name], **more)[0] | {"name": f"p{i}"} for i, (name, more, *_) in enumerate(PARTS)]
    device, config = make_device(server.url, table, mode=mode)
    got = await first_of(device, config, mode, len(PARTS))
    told = [(name, more, *got[f"p{i}"]) for i, (name, more, *_) in enumerate(PARTS)]
    assert [(name, more, kind, value, status) for name, more, value, status, _, kind, _ in told] == PARTS


async def test_a_whole_structure_is_json(server: OpcUaServer) -> None:
    device, config = make_device(server.url, points(["Axis", "AllAxes"], field="*"), mode="poll")
    got = await read_once(device, config)
    assert json.loads(got["Axis"].value) == AXIS
    assert [axis["Name"] for axis in json.loads(got["AllAxes"].value)] == ["X1", "Y1"]


async def test_structures_of_the_standard_have_fields(server: OpcUaServer) -> None:
    status = [
        {"name": "product", "node": "i=2256", "field": "BuildInfo.ProductName"},
        {"name": "state", "node": "i=2256", "field": "State"},
        {"name": "state_text", "node": "i=2259", "labels": "server"},
    ]
    device, config = make_device(server.url, status, mode="poll")
    got = await read_once(device, config)
    assert "opcua" in got["product"].value.lower()
    assert (got["state"].type, got["state"].value) == ("int32", 0)
    assert got["state_text"].value == "Running"
