"""Which variables of a server are points, with their units and ranges: node-opcua and asyncua."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua

from edge_agent.app import Agent
from edge_agent.config import load
from edge_agent.driver import Finding, Remarking
from edge_agent.model import DeviceId
from edge_agent.registry import Registry
from edge_agent.reload import Reloader
from edge_agent.testing.eventually import eventually
from edge_agent.testing.fakes import FakeContext
from edge_agent_opcua import DRIVER, search
from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.units import NAMESPACE as UNITS
from tests.servers.opcua.open_asyncua import open_asyncua
from tests.servers.opcua_server import NAMESPACE, OpcUaServer, opcua_server
from tests.servers.ports import free_port

CNC = f"/Objects/nsu={NAMESPACE};CNC"
ANALOG = {"Temp": ["degree_celsius", -20, 80], "Load": ["kilowatt", 0, 30]}


@pytest.fixture(scope="module")
def server() -> Iterator[OpcUaServer]:
    with opcua_server(floats=300, folders=3, folderSize=40, analog=ANALOG) as running:
        yield running


def device(url: str, *entries: dict[str, Any], **more: Any) -> OpcUaDevice:
    section = {"id": "cnc", "driver": "opcua", "url": url, "mode": "poll", "browse": list(entries)}
    return OpcUaDevice.model_validate(section | more)


async def found(config: OpcUaDevice) -> tuple[OpcUaDevice, tuple[str, ...], str]:
    """Return the device with what a session of it found, the remarks and the text."""
    session = await DRIVER.create(FakeContext("cnc"), config).connect()
    try:
        assert isinstance(session, Finding)
        assert isinstance(session, Remarking)
        text = await session.find_points()
        return config.with_found(text), tuple(session.remarks), text
    finally:
        await session.close()


async def test_what_matches_is_found_with_node_unit_and_range(server: OpcUaServer) -> None:
    entry = {"below": CNC, "match": "*"}
    config, remarks, _ = await found(device(server.url, entry))
    points = {point.description: point for point in config.points}
    assert {f"Float.{number:03}" for number in range(300)} <= points.keys()
    assert not any("/" in path for path in points)
    pressure = points["Pressure"]
    assert (pressure.name, pressure.node, pressure.unit) == ("pressure", f"nsu={NAMESPACE};s=Pressure", "bar")
    assert pressure.range is not None
    assert (pressure.range.low, pressure.range.high) == (0, 250)
    assert (points["Temp"].unit, points["Load"].unit, points["Float.000"].unit) == ("Cel", "kW", "")
    assert remarks == ()


async def test_two_levels_and_any_number_of_levels(server: OpcUaServer) -> None:
    two, _, _ = await found(device(server.url, {"match": "CNC/Folder.?/V0000*"}))
    assert [point.description for point in two.points] == [
        f"CNC/Folder.{folder}/V{number:05}" for folder in range(3) for number in range(10)
    ]
    assert two.points[0].name == "cnc_folder_0_v00000"
    any_, _, _ = await found(device(server.url, {"match": "**/V0000?", "exclude": ["**/Folder.1/**"]}))
    assert {point.node for point in any_.points} == {p.node for p in two.points if "Folder.1" not in p.description}


async def test_the_same_server_gives_the_same_text_however_it_numbers_and_however_little_it_takes(
    server: OpcUaServer,
) -> None:
    entries = ({"match": "**", "max_points": 5000}, {"below": CNC, "match": "Float*"})
    first, _, text = await found(device(server.url, *entries))
    again, _, once_more = await found(first)
    assert once_more == text
    assert again == first
    limits = {"maxNodesPerBrowse": 7, "maxNodesPerRead": 11}
    options: dict[str, Any] = {"floats": 300, "folders": 3, "folderSize": 40, "analog": ANALOG}
    with opcua_server(limits=limits, continuations=2, filler=3, **options) as other:
        narrow, _, told = await found(device(other.url, *entries))
    assert told == text
    assert [point.name for point in narrow.points] == [point.name for point in first.points]


async def test_no_more_than_the_bound_and_always_the_same(server: OpcUaServer) -> None:
    config, (remark,), _ = await found(device(server.url, {"below": CNC, "match": "Float.*", "max_points": 25}))
    assert [point.description for point in config.points] == [f"Float.{number:03}" for number in range(25)]
    assert "300 variables match Float.* below" in remark
    assert "25 are points" in remark


async def test_a_tree_that_has_no_end_is_looked_through_up_to_a_bound(
    server: OpcUaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MAX_NODES", 50)
    config, remarks, _ = await found(device(server.url, {"match": "**", "max_points": 5000}))
    assert 0 < len(config.points) <= 150
    assert any("more than 50 nodes below i=85" in remark for remark in remarks)


async def test_a_server_without_what_is_looked_for_is_connected_and_a_remark_says_so(server: OpcUaServer) -> None:
    nowhere = {"below": f"nsu={NAMESPACE};s=Nowhere", "match": "*"}
    foreign = {"below": "nsu=http://example.com/other;s=X", "match": "*"}
    config, remarks, text = await found(device(server.url, {"match": "Nothing/*"}, nowhere, foreign))
    assert not config.points
    assert text == ""
    told = "\n".join(remarks)
    assert "nothing matches Nothing/* below i=85" in told
    assert "BadNodeIdUnknown" in told
    assert "nsu=http://example.com/other;s=X is not there" in told


async def test_a_written_point_wins_however_its_node_is_written(server: OpcUaServer) -> None:
    points = [
        {"name": "mine", "node": f"{CNC}/Float.000"},
        {"name": "other", "node": "ns=2;s=Float.001"},
        {"name": "third", "node": f"nsu={NAMESPACE};s=Float.002"},
    ]
    config, _, _ = await found(device(server.url, {"below": CNC, "match": "Float.00?"}, points=points))
    names = [point.name for point in config.points]
    assert names == ["mine", "other", "third", *(f"float_00{number}" for number in range(3, 10))]


async def test_what_vanished_stays_and_is_told_of(server: OpcUaServer) -> None:
    server.order("add", name="Fleeting", value=1)
    server.order("add", name="Fleeting2", value=2)
    config, _, _ = await found(device(server.url, {"below": CNC, "match": "Fleeting*"}))
    server.order("remove", name="Fleeting")
    after, (remark,), _ = await found(config)
    assert after == config
    assert "edge-agent devices cnc --forget" in remark
    assert remark.endswith("fleeting")
    server.order("remove", name="Fleeting2")


async def test_structures_are_no_points() -> None:
    with opcua_server(floats=1, structures=True) as server:
        config, remarks, _ = await found(device(server.url, {"below": CNC, "match": "*"}))
    assert any("that cannot be points" in remark and "it is a structure" in remark for remark in remarks)
    assert len(config.points) > 20


async def test_written_points_have_the_servers_units_and_a_difference_is_told(server: OpcUaServer) -> None:
    points = [
        {"name": "pressure", "node": f"nsu={NAMESPACE};s=Pressure"},
        {"name": "psi", "node": f"{CNC}/Pressure", "unit": "psi"},
        {"name": "celsius", "node": f"nsu={NAMESPACE};s=Temp", "unit": "°C"},
        {"name": "plain", "node": f"nsu={NAMESPACE};s=Float.000"},
        {"name": "gone", "node": f"nsu={NAMESPACE};s=Nowhere"},
    ]
    config, (remark,), text = await found(device(server.url, points=points))
    assert [(point.name, point.unit) for point in config.points] == [
        ("pressure", "bar"),
        ("psi", "psi"),
        ("celsius", "°C"),
        ("plain", ""),
        ("gone", ""),
    ]
    assert config.points[2].range is not None
    assert remark == "the server has other units than are written here: psi (psi, there bar)"
    _, _, again = await found(config)
    assert again == text
    silent, remarks, nothing = await found(device(server.url, points=points, server_units=False))
    assert (silent.points[0].unit, remarks, nothing) == ("", (), "")


@asynccontextmanager
async def asyncua_server(axes: int, url: str, unit: str = "RPM") -> AsyncIterator[None]:
    """Serve a machine of so many axes, each with a speed."""
    server, _, index = await open_asyncua(url=url)
    machine = await server.nodes.objects.add_folder(ua.NodeId("CNC", index), ua.QualifiedName("CNC", index))
    for number in range(1, axes + 1):
        axis = await machine.add_folder(
            ua.NodeId(f"Axis{number}", index), ua.QualifiedName(f"Axis{number}", index)
        )
        speed = await axis.add_variable(ua.NodeId(f"Speed{number}", index), ua.QualifiedName("Speed", index), 1.0)
        await speed.add_property(
            ua.NodeId(f"EU{number}", index),
            ua.QualifiedName("EngineeringUnits", 0),
            ua.EUInformation(UNITS, int.from_bytes(unit.encode(), "big"), ua.LocalizedText(unit.lower())),
        )
        await speed.add_property(
            ua.NodeId(f"Range{number}", index), ua.QualifiedName("InstrumentRange", 0), ua.Range(0.0, 9000.0)
        )
        await axis.add_reference(server.nodes.objects, ua.ObjectIds.Organizes)  # a circle
    async with server:
        yield


@pytest.fixture
def free_url() -> str:
    return f"opc.tcp://127.0.0.1:{free_port()}"


async def test_asyncuas_server_tells_the_same_also_if_its_nodes_hang_in_a_circle(free_url: str) -> None:
    async with asyncua_server(2, free_url), asyncio.timeout(20):
        config, remarks, _ = await found(device(free_url, {"match": "**/Speed", "identifier": True}))
    assert [(point.name, point.unit, point.identifier) for point in config.points] == [
        ("cnc_axis1_speed", "{rev}/min", True),
        ("cnc_axis2_speed", "{rev}/min", True),
    ]
    assert config.points[0].range is not None
    assert config.points[0].range.high == 9000
    assert remarks == ()


async def test_what_makes_no_sense_as_a_unit_or_range_is_none(free_url: str) -> None:
    odd: dict[str, tuple[Any, Any]] = {
        "text": ("bar", "0 to 10"),
        "nameless": (ua.EUInformation(UNITS, -1, ua.LocalizedText(None)), ua.Range(1.0, 1.0)),
        "endless": (ua.EUInformation(None, 4342098, ua.LocalizedText(" bar\n")), ua.Range(float("-inf"), 10.0)),
    }
    server, _, index = await open_asyncua(url=free_url)
    for name, (unit, limits) in odd.items():
        node = await server.nodes.objects.add_variable(ua.NodeId(name, index), ua.QualifiedName(name, index), 1.0)
        for kind, content in (("EngineeringUnits", unit), ("EURange", limits)):
            await node.add_property(ua.NodeId(f"{name}.{kind}", index), ua.QualifiedName(kind, 0), content)
    async with server:
        config, remarks, _ = await found(device(free_url, {"match": "*"}))
    assert {point.name: (point.unit, point.range) for point in config.points} == {
        "text": ("", None),
        "nameless": ("", None),
        "endless": ("bar", None),
    }
    assert remarks == ()


@pytest.mark.slow
async def test_an_agent_takes_up_what_asyncuas_server_has_got_and_says_otherwise(
    free_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a short name for the socket
    entry = '{match: "CNC/*/Speed", interval: 100ms}'
    yaml = (
        "gateway: {id: gw}\noutbox: {directory: state}\npublishers: []\n"
        f"ops: {{http: '127.0.0.1:{free_port()}', control_socket: control.sock}}\n"
        f"devices:\n  - {{id: cnc, driver: opcua, url: '{free_url}', retry_max: 200ms, browse: [{entry}]}}\n"
    )
    path = Path("agent.yaml")
    await asyncio.to_thread(path.write_text, yaml)
    agent = Agent(await asyncio.to_thread(load, path, Registry()))
    reloader = Reloader(agent, path)

    def points() -> dict[str, tuple[str, object]]:
        current = agent.current.get(DeviceId("cnc"))
        table = () if current is None else current.table.points
        return {
            point.name: (point.unit, current.latest(i).value)
            for i, point in enumerate(table)
            if current is not None
        }

    async with asyncio.TaskGroup() as group:
        async with asyncua_server(1, free_url):
            tasks = [group.create_task(agent.run()), group.create_task(reloader.run())]
            await eventually(lambda: points() == {"cnc_axis1_speed": ("{rev}/min", 1.0)}, within_s=20)
        async with asyncua_server(2, free_url, unit="HTZ"):
            both = {f"cnc_axis{number}_speed": ("Hz", 1.0) for number in (1, 2)}
            await eventually(lambda: points() == both, within_s=20)
            for task in tasks:
                task.cancel()
