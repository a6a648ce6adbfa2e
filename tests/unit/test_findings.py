"""What sessions found is kept whole; a device that finds something else each time is not built anew for ever."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge_agent.cli.commands import app
from edge_agent.collect.expiry import Expiries
from edge_agent.collect.findings import FOLDER_NAME, Findings
from edge_agent.collect.fleet import FINDINGS_ALLOWED, FINDINGS_WINDOW_S, Fleet
from edge_agent.config import load
from edge_agent.current import Current
from edge_agent.metrics import Metrics
from edge_agent.model import DeviceId
from edge_agent.registry import Registry
from edge_agent.testing.fakes import FakeClock

CNC = DeviceId("cnc")


def test_what_is_kept_reads_back_and_the_same_once_more_is_no_news(tmp_path: Path) -> None:
    findings = Findings(tmp_path)
    assert findings.read(CNC) == ""
    assert findings.keep(CNC, "轴")
    assert not findings.keep(CNC, "轴")
    assert (findings.read(CNC), Findings(tmp_path).read(CNC)) == ("轴", "轴")
    assert [path.name for path in (tmp_path / FOLDER_NAME).iterdir()] == ["cnc.json"]
    assert findings.keep(CNC, "")
    assert not findings.forget(CNC)
    assert findings.read(CNC) == ""


def test_a_file_that_is_no_text_is_nothing(tmp_path: Path) -> None:
    findings = Findings(tmp_path)
    findings.keep(CNC, "x")
    (tmp_path / FOLDER_NAME / "cnc.json").write_bytes(b"\xff")
    assert findings.read(CNC) == ""


def test_a_folder_that_takes_no_file_keeps_what_was_there(tmp_path: Path) -> None:
    findings = Findings(tmp_path)
    findings.keep(CNC, "before")
    (tmp_path / FOLDER_NAME / "cnc.new").mkdir()
    with pytest.raises(OSError, match="directory"):
        findings.keep(CNC, "after")
    assert findings.read(CNC) == "before"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.yaml"
    path.write_text(
        f"""
gateway: {{id: gw}}
identifiers: {{prefix: "88.000.7", allow_placeholder: true}}
outbox: {{directory: {tmp_path}/state}}
publishers: []
devices:
  - {{id: cnc, driver: opcua, url: "opc.tcp://plc", browse: [{{match: "**", identifier: true}}]}}
"""
    )
    return path


@pytest.mark.parametrize("more", [(), ("--plan",), ("--json",)], ids=str)
def test_a_device_that_was_never_connected_is_checked(config: Path, more: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, ["check", str(config), *more])
    assert done.exit_code == 0, done.output
    assert ("none is known before it was connected" in done.output) == ("--json" not in more)


def test_a_device_is_built_with_what_was_found_and_without_it_before(config: Path) -> None:
    (device,) = load(config, Registry()).devices
    assert (device.table.points, device.found) == ((), "")
    text = '{"nodes":[["i=85",["Spindle","Speed"],0,"nsu=u;i=7","{rev}/min",[0,9000]]],"written":{}}'
    Findings(config.parent / "state").keep(CNC, text)
    options = load(config, Registry())
    (device,) = options.devices
    assert [(point.name, point.unit) for point in device.table.points] == [("spindle_speed", "{rev}/min")]
    assert device.found == text
    assert options.identifiers is not None
    (point,) = options.identifiers.devices[0].points
    assert (point.name, point.range, point.is_found) == ("spindle_speed", (0.0, 9000.0), True)


async def test_a_device_that_finds_something_else_each_time_is_built_anew_a_few_times(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, metrics = FakeClock(), Metrics()
    nothing: Any = None
    fleet = Fleet(
        nothing,  # is collected
        Current(clock),
        Expiries(metrics, clock),
        tmp_path,
        clock=clock,
        metrics=metrics,
        random=lambda: 0.0,
    )
    asked = []
    fleet.news = lambda: asked.append(clock.monotonic_s())
    keep = fleet._keep_found
    for number in range(FINDINGS_ALLOWED + 3):
        await keep(CNC, f"points {number}")
    assert len(asked) == FINDINGS_ALLOWED
    assert await asyncio.to_thread(Findings(tmp_path).read, CNC) == f"points {FINDINGS_ALLOWED - 1}"
    assert "tells of other points each time" in caplog.text
    await clock.advance(FINDINGS_WINDOW_S)
    await keep(CNC, "points again")
    await keep(CNC, "points again")
    assert len(asked) == FINDINGS_ALLOWED + 1
    await fleet.forget_found(CNC)
    await fleet.forget_found(CNC)
    assert len(asked) == FINDINGS_ALLOWED + 2
    assert await asyncio.to_thread(Findings(tmp_path).read, CNC) == ""
