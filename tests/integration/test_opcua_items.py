"""Each item has a truth of its own: what the server does not report costs nothing else, and is tried again."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from asyncua import ua

from edge_agent.model import Quality, is_good
from edge_agent.testing.eventually import eventually
from edge_agent_opcua.session import OpcUaSession
from tests.servers.opcua.open_asyncua import open_asyncua
from tests.servers.opcua.reading import first_of, make_device, points, reporting
from tests.servers.opcua_server import NAMESPACE, OpcUaServer, opcua_server


@pytest.fixture(scope="module")
def server() -> Iterator[OpcUaServer]:
    limits = {"maxNodesPerRead": 100, "maxMonitoredItemsPerCall": 100}
    with opcua_server(limits=limits, floats=1000) as running:
        yield running


async def test_one_bad_node_of_1000_costs_no_other(server: OpcUaServer) -> None:
    names = [f"Float.{i:03}" for i in range(1000)]
    names[500] = "Nowhere"
    device, config = make_device(server.url, points(names))
    async with reporting(device, config) as collected:
        got = await collected.all_of(1000)
    assert got.pop("Nowhere").status == Quality.BAD_NODE_ID_UNKNOWN
    assert {name: reading.value for name, reading in got.items()} == {
        f"Float_{i:03}": i + 0.5 for i in range(1000) if i != 500
    }
    assert all(is_good(reading.status) for reading in got.values())


async def test_a_node_that_comes_goes_and_comes_again_is_found_each_time(server: OpcUaServer) -> None:
    device, config = make_device(server.url, points(["Late", "Counter"]), bad_node_retry="1s", keep_alive="200ms")
    async with reporting(device, config) as collected:
        assert (await collected.all_of(2))["Late"].status == Quality.BAD_NODE_ID_UNKNOWN
        for value in (7.0, 8.0):
            server.order("add", name="Late", value=value)
            await eventually(lambda value=value: collected.latest["Late"].value == value)  # type: ignore[misc]
            server.order("remove", name="Late")
            await eventually(lambda: not is_good(collected.latest["Late"].status))
        said = [reading for name, reading in collected.all if name == "Late"]
        assert collected.latest["Counter"].status == 0
    assert len(said) < 20, "a Bad reading for each try"


async def test_each_publishing_interval_is_a_subscription_of_its_own(server: OpcUaServer) -> None:
    table = [*points(["Counter"]), *points(["Sine"], publishing_interval="1s", sampling_interval="50ms")]
    device, config = make_device(server.url, table)
    async with reporting(device, config) as collected:
        await collected.all_of(2)
        await eventually(lambda: len([name for name, _ in collected.all if name == "Sine"]) > 40)
    # node-opcua sends the slower one along with the faster one; what counts is that nobody's changes are missing.
    assert all(
        len({point for column in batch.columns for point in column.points}) == 1 for batch in collected.batches
    )
    for name in ("Counter", "Sine"):
        assert [other for other, _ in collected.all].count(name) > 15


@pytest.mark.parametrize("told", [100, 0])
async def test_more_points_than_the_server_takes_in_a_subscription_arrive_each_under_its_name(told: int) -> None:
    names = [*(f"Float.{i:03}" for i in range(249)), "Counter"]
    with opcua_server(maxItems=100, toldMaxItems=told) as crowded:
        device, config = make_device(crowded.url, points(names), keep_alive="500ms", timeout="1s")
        async with reporting(device, config) as collected:
            got = await collected.all_of(250)
            await eventually(lambda: [name for name, _ in collected.all].count("Counter") > 20)
            assert isinstance(collected.session, OpcUaSession)
            assert collected.session._services.max_items == told
            subscriptions, remarks = len(list(collected.session._subscriptions)), collected.session.remarks
    assert got.pop("Counter").status == 0
    assert {name: (reading.value, reading.status) for name, reading in got.items()} == {
        f"Float_{i:03}": (i + 0.5, 0) for i in range(249)
    }
    assert subscriptions == 3, "none is silent for longer than its keep-alive allows, or the session had ended"
    assert (collected.lost, remarks) == ([], ())


async def test_points_for_which_the_server_has_no_room_cost_no_other() -> None:
    with opcua_server(maxItems=100, maxSubscriptions=2) as crowded:
        device, config = make_device(crowded.url, points(f"Float.{i:03}" for i in range(250)))
        async with reporting(device, config) as collected:
            got = await collected.all_of(250)
            assert isinstance(collected.session, OpcUaSession)
            remarks = collected.session.remarks
            crowded.order("set", name="Float.249", value=7.5)
            await eventually(lambda: collected.latest["Float_249"].value == 7.5)
    assert {name: (reading.value, reading.status) for name, reading in got.items()} == {
        f"Float_{i:03}": (i + 0.5, 0) for i in range(250)
    }
    assert len([name for name, _ in collected.all if name == "Float_199"]) == 1, (
        "reported: once, for it does not change"
    )
    (remark,) = remarks
    assert remark.startswith("the server has no room for more variables in its subscriptions; these are polled")
    assert remark.endswith(": Float_200, Float_201, Float_202, Float_203, Float_204 and 45 more")


async def test_what_was_polled_for_want_of_room_is_reported_after_the_next_connection() -> None:
    with opcua_server(maxItems=100, maxSubscriptions=1) as crowded:
        device, config = make_device(crowded.url, points(f"Float.{i:03}" for i in range(150)))
        for max_items, remarks in ((100, 1), (200, 0)):
            crowded.kill()
            crowded.start(maxItems=max_items)
            async with reporting(device, config) as collected:
                got = await collected.all_of(150)
                assert isinstance(collected.session, OpcUaSession)
                assert len(collected.session.remarks) == remarks
                assert len(collected.session._polled) == 50 * remarks
            assert all(is_good(reading.status) for reading in got.values())


async def test_the_server_keeps_small_changes_to_itself(server: OpcUaServer) -> None:
    table = points(["Float.001"], server_deadband={"absolute": 1.0}, sampling_interval="10ms")
    device, config = make_device(server.url, [*table, *points(["Counter"])])
    async with reporting(device, config) as collected:
        await collected.all_of(2)
        for value in (1.6, 2.4, 2.6, 3.0):
            server.order("set", name="Float.001", value=value)
            count = len(collected.batches)
            await eventually(lambda count=count: len(collected.batches) >= count + 2)  # type: ignore[misc]
    assert [reading.value for name, reading in collected.all if name == "Float_001"] == [1.5, 2.6]
    server.order("set", name="Float.001", value=1.5)


async def test_a_percentage_is_of_the_range_that_the_server_has(server: OpcUaServer) -> None:
    table = [
        *points(["Pressure"], server_deadband={"percent": 2.0}, sampling_interval="10ms"),  # 5 of 0 to 250
        *points(["Float.006"], server_deadband={"percent": 2.0}, sampling_interval="10ms"),
    ]
    device, config = make_device(server.url, [*table, *points(["Counter"])])
    async with reporting(device, config) as collected:
        await collected.all_of(3)
        for value in (66.0, 57.0, 67.0, 62.5, 61.5):
            for name in ("Pressure", "Float.006"):
                server.order("set", name=name, value=value)
            count = len(collected.batches)
            await eventually(lambda count=count: len(collected.batches) >= count + 2)  # type: ignore[misc]
        assert isinstance(collected.session, OpcUaSession)
        told = collected.session.remarks
    of = {name: [reading.value for other, reading in collected.all if other == name] for name, _ in collected.all}
    assert of["Pressure"] == [61.5, 67.0, 61.5]
    assert of["Float_006"] == [6.5, 66.0, 57.0, 67.0, 62.5, 61.5], "no range: every change is reported"
    about = [remark for remark in told if "deadband" in remark]
    assert about == ["the server has no such deadband or trigger and reports every change: Float_006"]
    server.order("set", name="Float.006", value=6.5)


async def test_a_change_of_time_alone_is_reported_if_asked_for(server: OpcUaServer) -> None:
    table = [
        *points(["Float.002"], trigger="timestamp", sampling_interval="10ms"),
        *points(["Float.003"], sampling_interval="10ms"),
        *points(["Flicker"], trigger="status", sampling_interval="10ms"),
    ]
    device, config = make_device(server.url, table)
    async with reporting(device, config) as collected:
        await collected.all_of(3)
        for name in ("Float.002", "Float.003"):
            server.order("set", name=name, value=float(name[-1]) + 0.5)
        await eventually(lambda: [name for name, _ in collected.all].count("Float_002") == 2)
        await eventually(lambda: len({reading.status for name, reading in collected.all if name == "Flicker"}) > 1)
    assert [name for name, _ in collected.all].count("Float_003") == 1


async def test_what_the_server_does_otherwise_is_remarked(server: OpcUaServer) -> None:
    table = [
        *points(["Float.004"], server_deadband={"percent": 5.0}),
        *points(["Float.005"], sampling_interval="10ms"),
    ]
    device, config = make_device(server.url, table, publishing_interval="10ms")
    async with reporting(device, config) as collected:
        got = await collected.all_of(2)
        assert isinstance(collected.session, OpcUaSession)
        told = collected.session.remarks
    assert {name: reading.value for name, reading in got.items()} == {"Float_004": 4.5, "Float_005": 5.5}
    assert "the server has no such deadband or trigger and reports every change: Float_004" in told
    assert "the server samples more slowly than asked (each 50ms, not each 10ms): Float_005" in told
    assert "the server publishes each 50ms, not each 10ms" in told


async def test_a_server_that_reports_all_changes_stands_the_check(server: OpcUaServer) -> None:
    device, config = make_device(
        server.url, points(["Counter", "Sine", "Flicker", "Feed"]), mode="both", check_interval="1s"
    )
    async with reporting(device, config) as collected:
        await collected.all_of(4)
        await asyncio.sleep(4)  # three checks and what follows them
    assert collected.lost == []
    assert [name for name, _ in collected.all].count("Feed") == 1


@pytest.mark.parametrize("mode", ["subscribe", "poll"])
async def test_points_are_found_by_the_way_to_them_whatever_indexes_and_limits_the_server_has(mode: str) -> None:
    way = f"/Objects/nsu={NAMESPACE};CNC/"
    table = [{"name": f"p{i}", "node": f"{way}Float.{i:03}"} for i in range(250)]
    table += [
        {"name": "nowhere", "node": f"{way}Nowhere"},
        {"name": "clock", "node": "/Objects/Server/ServerStatus/CurrentTime"},
    ]
    limits = {"maxNodesPerTranslateBrowsePathsToNodeIds": 100}
    with opcua_server(limits=limits, filler=3) as shuffled:
        device, config = make_device(shuffled.url, table, mode=mode)
        got = await first_of(device, config, mode, 252)
    assert got.pop("nowhere").status == Quality.BAD_NODE_ID_UNKNOWN
    assert str(got.pop("clock").value).startswith("20")
    assert {name: reading.value for name, reading in got.items()} == {f"p{i}": i + 0.5 for i in range(250)}


async def test_a_node_that_comes_later_is_found_by_its_way(server: OpcUaServer) -> None:
    table = [{"name": "late", "node": f"/Objects/nsu={NAMESPACE};CNC/Later"}]
    device, config = make_device(server.url, table, bad_node_retry="1s", keep_alive="200ms")
    async with reporting(device, config) as collected:
        assert (await collected.all_of(1))["late"].status == Quality.BAD_NODE_ID_UNKNOWN
        server.order("add", name="Later", value=7.0)
        await eventually(lambda: collected.latest["late"].value == 7.0)
    server.order("remove", name="Later")


class TestAsyncua:
    """The same against a server that knows no percent deadband and has no engineering range."""

    @pytest.fixture
    async def url(self) -> AsyncIterator[str]:
        server, url, index = await open_asyncua()
        for i in range(250):
            await server.nodes.objects.add_variable(ua.NodeId(f"V{i}", index), f"V{i}", float(i))
        async with server:
            yield url

    async def test_one_bad_node_costs_no_other(self, url: str) -> None:
        names = [f"V{i}" for i in range(250)]
        names[100] = "Nowhere"
        device, config = make_device(url, points(names))
        async with reporting(device, config) as collected:
            got = await collected.all_of(250)
        assert got.pop("Nowhere").status == Quality.BAD_NODE_ID_UNKNOWN
        assert {name: reading.value for name, reading in got.items()} == {
            f"V{i}": float(i) for i in range(250) if i != 100
        }
