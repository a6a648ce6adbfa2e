"""What a server offers, as ``edge-agent browse`` finds it: node-opcua, and asyncua's server as a second one."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from edge_agent.browsing import BrowseEnd, Browsing, FoundPoint, Progress
from edge_agent.errors import DeviceUnavailableError
from edge_agent.testing.fakes import FakeContext
from edge_agent_opcua.browse import BROWSER
from tests.servers.agent import EDGE_AGENT
from tests.servers.opcua_server import NAMESPACE, OpcUaServer, opcua_server

FLOATS = 2500  # more than one answer holds of one folder


@pytest.fixture(scope="module")
def server() -> Iterator[OpcUaServer]:
    with opcua_server(floats=FLOATS) as running:
        yield running


class Found:
    def __init__(self) -> None:
        self.points: dict[str, FoundPoint] = {}
        self.progress: list[Progress] = []

    def tell(self, points: list[FoundPoint]) -> None:
        for point in points:
            assert point.path not in self.points
            self.points[point.path] = point


async def browse(
    url: str, *, wants: Callable[[str], bool] = lambda _: True, most: int = 100_000, start: str = ""
) -> tuple[Found, BrowseEnd]:
    found = Found()
    browsing = Browsing(found.tell, found.progress.append, wants, most, start)  # type: ignore[arg-type]
    end = await BROWSER.browse(FakeContext(), BROWSER.device(url), browsing)
    return found, end


async def test_every_variable_is_found_once_with_what_a_person_wants_to_know(server: OpcUaServer) -> None:
    found, end = await browse(server.url)
    assert end == BrowseEnd(is_complete=True)
    for number in range(FLOATS):
        point = found.points[f"CNC/Float.{number:03}"]
        node = f"nsu={NAMESPACE};s=Float.{number:03}"
        assert point == FoundPoint(
            {"node": node}, f"float_{number:03}", point.path, "Double", f"{number + 0.5:.7g}"
        )
    pressure = found.points["CNC/Pressure"]
    node = f"nsu={NAMESPACE};s=Pressure"
    assert pressure.keys == {"node": node, "unit": "bar", "description": "油压"}
    assert found.points["CNC/Numeric"].keys == {"node": f"nsu={NAMESPACE};i=5001"}
    assert (found.points["CNC/State"].type, found.points["CNC/State"].value) == ("MachineState", "1")
    assert found.points["CNC/Broken"].value == "BadSensorFailure"
    assert (found.points["CNC/Axes"].type, found.points["CNC/Axes"].hindrance) == ("Double[]", "")
    assert found.progress[-1].waiting == 0
    assert not any(point.path.startswith("Server") for point in found.points.values())


async def test_a_server_that_takes_little_in_a_request_shows_the_same(server: OpcUaServer) -> None:
    with opcua_server(floats=100, limits={"maxNodesPerBrowse": 3, "maxNodesPerRead": 7}) as narrow:
        found, end = await browse(narrow.url)
    wide, _ = await browse(server.url)
    assert end.is_complete
    assert found.points.keys() == {
        path for path in wide.points if not path.startswith("CNC/Float.") or int(path[10:]) < 100
    }


async def test_only_what_is_wanted_is_told_and_the_rest_is_looked_into(server: OpcUaServer) -> None:
    found, _ = await browse(server.url, wants=lambda path: path.endswith("Pressure"))
    assert list(found.points) == ["CNC/Pressure"]
    assert found.progress[-1].done > FLOATS


async def test_a_browse_stops_at_the_number_of_nodes_that_it_may_look_into(server: OpcUaServer) -> None:
    found, end = await browse(server.url, most=100)
    assert not end.is_complete
    assert found.progress[-1].done <= 101


async def test_a_browse_can_begin_anywhere_also_among_the_servers_own_nodes(server: OpcUaServer) -> None:
    found, _ = await browse(server.url, start="i=2253")
    assert found.points["ServerStatus/CurrentTime"].type == "UtcTime"
    with pytest.raises(DeviceUnavailableError, match="has no namespace http://nowhere"):
        await browse(server.url, start="nsu=http://nowhere;s=x")
    _, end = await browse(server.url, start=f"nsu={NAMESPACE};s=Nowhere")
    assert end.notes == (f"nsu={NAMESPACE};s=Nowhere: BadNodeIdUnknown",)


def test_what_is_written_is_a_configuration(server: OpcUaServer, tmp_path: Path) -> None:
    file = tmp_path / "cnc.yaml"
    done = edge_agent("browse", "opcua", server.url, "--filter", "*/float.00?", "--write", str(file), "--json")
    points = [json.loads(line) for line in done.stdout.splitlines()]
    assert [point["name"] for point in points] == [f"float_00{number}" for number in range(10)]
    checked = json.loads(edge_agent("check", str(file), "--json").stdout)
    assert checked["devices"][0]["points"] == 10
    again = edge_agent("browse", "opcua", server.url, "--write", str(file), code=1)
    assert "--force" in again.stderr


def test_a_configured_device_is_browsed_with_its_user_and_its_password_is_not_written(tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    found = tmp_path / "found.yaml"
    with opcua_server(security=True, users={"op": "hush-hush"}, anonymous=False) as server:
        config.write_text(
            f"""
gateway: {{id: gw}}
publishers: []
outbox: {{directory: {tmp_path}}}
devices:
  - id: cnc
    driver: opcua
    url: {server.url}
    interval: 500ms
    user: op
    password: !env CNC_PASSWORD
    insecure_password: true
    points: [{{name: a, node: "i=2258"}}]
"""
        )
        arguments = ("browse", "opcua", "--config", str(config), "--device", "cnc", "--filter", "*pressure")
        done = edge_agent(*arguments, "--write", str(found), environment={"CNC_PASSWORD": "hush-hush"})
    assert done.stdout.count("Pressure") == 2
    assert "password: is a secret and is not written" in done.stderr
    written = found.read_text()
    assert "hush" not in written + done.stdout + done.stderr
    assert "interval: 500ms" in written


@pytest.mark.slow
def test_ctrl_c_stops_it_at_once_and_leaves_no_session() -> None:
    with opcua_server(floats=20_000, maxSessions=1) as crowded, browsing(crowded.url) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        asyncio.run(browse(crowded.url, most=10))  # the one session is free


@pytest.mark.chaos
def test_a_hundred_thousand_nodes_cost_bounded_memory() -> None:
    with opcua_server(floats=100_000) as server, browsing(server.url) as process:
        assert process.stdout is not None
        watched, peak, lines = psutil.Process(process.pid), 0, 0
        for _ in process.stdout:
            lines += 1
            if lines % 1000 == 0:
                peak = max(peak, watched.memory_info().rss)
        assert process.wait() == 0
    print(f"{lines} points, at most {peak / 2**20:.0f} MiB")
    assert lines > 100_000
    assert peak < 200 * 2**20


@pytest.mark.slow
async def test_continuation_points_that_run_out_cost_nothing() -> None:
    with opcua_server(floats=3, folders=4, folderSize=2500, continuations=1) as crowded:
        found, end = await browse(crowded.url, wants=lambda path: path.startswith("CNC/Folder."))
    assert len(found.points) == 4 * 2500
    assert end.notes == ()


@pytest.mark.slow
def test_a_machine_tool_is_recognised_named_and_labelled(tmp_path: Path) -> None:
    file = tmp_path / "cnc.yaml"
    with opcua_server(floats=3, machineTools=["CNC-07"]) as machine:
        edge_agent("browse", "opcua", machine.url, "--profile", "machine-tool", "--write", str(file))
    edge_agent("check", str(file))
    (device,) = yaml.safe_load(file.read_text("utf-8"))["devices"]
    assert device["labels"] == {
        "manufacturer": "示例机床",
        "product_instance_uri": "http://example.com/machines/CNC-07",
        "serial": "SN-0042",
    }
    points = {point.pop("name"): point for point in device["points"]}
    wanted = {"operation_mode", "program", "parts_produced", "alarms"}
    wanted |= {"feed_override", "channel1_feed_override", "channel1_state", "spindle_override", "spindle_rotating"}
    assert wanted <= set(points)
    assert points["feed_override"]["unit"] == points["spindle_override"]["unit"] == "%"
    assert (points["parts_produced"]["class"], points["program"]["class"]) == ("counter", "event")
    assert points["alarms"] == {"node": "i=2253", "events": "alarms"}


@pytest.mark.slow
def test_of_several_machines_one_is_taken_by_its_name() -> None:
    with opcua_server(floats=3, machineTools=["A", "B"]) as machines:
        arguments = ("browse", "opcua", machines.url, "--profile", "machine-tool")
        both = edge_agent(*arguments)
        one = edge_agent(*arguments, "--filter", "B/*")
    assert "2 machines (A, B)" in both.stderr
    assert "product_instance_uri: http://example.com/machines/B" in one.stderr


def test_the_variables_of_a_sinumerik_control_are_asked_for_by_name(tmp_path: Path) -> None:
    file = tmp_path / "cnc.yaml"
    with opcua_server(floats=3, sinumerik=True) as control:
        arguments = ("browse", "opcua", control.url, "--profile", "sinumerik", "--write", str(file))
        done = edge_agent(*arguments)
    edge_agent("check", str(file))
    (device,) = yaml.safe_load(file.read_text("utf-8"))["devices"]
    points = {point.pop("name"): point for point in device["points"]}
    assert set(points) == {"program_state", "program", "parts", "spindle_override"}
    node = "nsu=SinumerikVarProvider;s=/Channel/Spindle/speedOvr"
    assert points["spindle_override"] == {"node": node, "unit": "%"}
    assert points["parts"]["class"] == "counter"
    assert "does not show, or --filter leaves out: operation_mode" in done.stderr


def test_a_server_without_machines_and_a_profile_that_is_none_are_told(server: OpcUaServer) -> None:
    arguments = ("browse", "opcua", server.url, "--profile")
    assert "browse it without --profile" in edge_agent(*arguments, "machine-tool", code=1).stderr
    assert "is not the server of a SINUMERIK control" in edge_agent(*arguments, "sinumerik", code=1).stderr
    assert (
        "has no profile 'lathe'; it has: machine-tool, sinumerik" in edge_agent(*arguments, "lathe", code=1).stderr
    )


def browsing(url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([EDGE_AGENT, "browse", "opcua", url, "--json"], stdout=subprocess.PIPE)


def edge_agent(
    *arguments: str, code: int = 0, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [EDGE_AGENT, *arguments], capture_output=True, text=True, check=False, timeout=60, env=environment
    )
    assert done.returncode == code, (sys.argv, done.stdout, done.stderr)
    return done
