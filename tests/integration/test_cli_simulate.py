"""``edge-agent simulate``: the example, mistakes at their place, a port in use, Ctrl-C."""

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from edge_agent.cli.simulate import simulate
from edge_agent.collect.line import Lines
from edge_agent.config import load
from edge_agent.config.simulated import load_simulated
from edge_agent.errors import ConfigError, SimulationError
from edge_agent.registry import Registry
from edge_agent.testing.fakes import FakeContext
from edge_agent_modbus.config import ModbusDevice
from edge_agent_modbus.point import ModbusPoint
from edge_agent_modbus.session import ModbusUnit
from edge_agent_modbus.simulator.config import Identification, SimulatedDevice, SimulatedPoint
from edge_agent_modbus.simulator.faults import Fault
from edge_agent_modbus.simulator.signals import Signal
from tests.servers.modbus_device import read_once

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "configs/simulation.yaml"


def models(union: object) -> "tuple[type[BaseModel], ...]":
    """Return the branches of an annotated union."""
    return get_args(get_args(union)[0])


def start(path: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "edge_agent", "simulate", str(path), "--port-base", "0", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_example_is_served_until_it_is_stopped(number: signal.Signals) -> None:
    with start(EXAMPLE, "--json") as process:
        assert process.stdout is not None
        told = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(number)
        assert process.wait(5) == 0
    assert [(event["event"], event["device"]) for event in told] == [
        ("listening", "press-01"),
        ("listening", "meter-01"),
        ("listening", "meter-02"),
    ]
    assert all(event["detail"].startswith("127.0.0.1:") for event in told)


def test_when_nobody_reads_any_more_it_ends_as_after_ctrl_c(tmp_path: Path) -> None:
    with (tmp_path / "errors").open("w") as errors:
        command = [sys.executable, "-m", "edge_agent", "simulate", str(EXAMPLE), "--port-base", "0", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            assert process.stdout is not None
            told = [json.loads(process.stdout.readline()) for _ in range(3)]
            process.stdout.close()
            host, _, port = told[0]["detail"].rpartition(":")
            try:
                with (
                    suppress(ConnectionError),  # a fault was told before: it has ended
                    socket.create_connection((host, int(port))) as client,
                ):
                    client.sendall(bytes.fromhex("000100000006010300000001"))  # a request is told
                    process.wait(5)
                assert process.wait(5) == 0
            finally:
                process.kill()
    assert (tmp_path / "errors").read_text() == ""


def test_the_configuration_of_an_agent_can_be_simulated_as_it_stands() -> None:
    simulated = load_simulated(ROOT / "configs/demo.yaml", Registry())
    assert [model.id for model in simulated.devices] == ["meter-01", "press-01"]
    assert simulated.left_out == (("cnc-01", "opcua"),)


def test_mistakes_are_told_at_their_place(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        EXAMPLE.read_text().replace("low: 35, high", "low: 350, hihg").replace("at: holding 2", "at: 2")
    )
    with pytest.raises(ConfigError) as refused:
        load_simulated(path, Registry())
    assert re.search(r"bad\.yaml:13:\d+: devices\[0\]\.points\[0\]\.signal\.hihg: unknown key", str(refused.value))
    assert re.search(r"bad\.yaml:20:\d+: devices\[0\]\.faults\[0\]\.at: must be text", str(refused.value))


def test_a_port_in_use_is_told_with_a_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = tmp_path / "one.yaml"
        path.write_text(EXAMPLE.read_text().replace("5020", str(port)))
        with pytest.raises(SimulationError, match=f"127.0.0.1:{port} is in use.*--port-base"):
            simulate(path, host="", port_base=None, seed=0, as_json=True)


def test_every_key_is_in_the_page() -> None:
    page = (ROOT / "docs/simulator.md").read_text()
    own = (SimulatedDevice.model_fields.keys() - ModbusDevice.model_fields.keys()) | (
        SimulatedPoint.model_fields.keys() - ModbusPoint.model_fields.keys()
    )
    keys = own | Identification.model_fields.keys()
    for model in (*models(Fault), *models(Signal)):
        keys |= model.model_fields.keys()
    assert not [key for key in sorted(keys) if f"`{key}" not in page]


@pytest.mark.slow
async def test_one_file_serves_the_simulation_of_a_serial_line_and_the_agent(tmp_path: Path) -> None:
    path, line = tmp_path / "agent.yaml", tmp_path / "line"
    keys = f"serial: {{port: {line}, baud_rate: 115200}}"
    point = "{name: voltage, holding: 9, type: float32, unit: V}"
    path.write_text(
        "gateway: {id: gw-01}\noutbox: {directory: state}\npublishers: []\ndevices:\n"
        f"  - {{id: meter-03, driver: modbus, {keys}, unit: 3, points: [{point}]}}\n"
        f"  - {{id: meter-04, driver: modbus, {keys}, unit: 4, points: [{point}]}}\n"
    )
    with start(path, "--json") as process:
        try:
            assert process.stdout is not None
            told = [json.loads(await asyncio.to_thread(process.stdout.readline)) for _ in range(2)]
            devices = (await asyncio.to_thread(load, path, Registry())).devices
            lines = Lines()
            for options in devices:
                device = options.spec.create(FakeContext(options.id, lines=lines), options.config.unpack())
                assert isinstance(device, ModbusUnit)
                (voltage,) = (await read_once(device)).values()
                assert 100 < voltage < 300
        finally:
            process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, 5) == 0
    assert [(event["event"], event["device"], event["detail"]) for event in told] == [
        ("listening", "meter-03", str(line)),
        ("listening", "meter-04", str(line)),
    ]
    assert not line.is_symlink()
