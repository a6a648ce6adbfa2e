"""``edge-agent probe`` as a process: beside the running agent, stopped by Ctrl-C, and what it writes."""

import asyncio
import json
import os
import re
import signal
import struct
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_agent.cli.control import act
from edge_agent.config import load
from edge_agent.errors import EdgeAgentError
from edge_agent.outbox.inspect import Export
from edge_agent.registry import Registry
from edge_agent.testing.eventually import eventually
from tests.servers.agent import EDGE_AGENT, AgentProcess
from tests.servers.modbus_rtu import rtu_line
from tests.servers.modbus_server import (
    Answer,
    Gesture,
    ScriptedServer,
    registers_reply,
    reply,
    scripted_server,
)
from tests.servers.ports import free_port

ROOT = Path(__file__).parents[2]
INTERVAL_S = 0.4
READS = {1, 2, 3, 4, 0x2B}


def meter(request: bytes, _number: int) -> Answer:
    """Answer as unit 3: holding registers 0 to 99 hold their addresses; the others of the line are silent."""
    if request[6] != 3:
        return Gesture.SILENCE
    if request[7] == 3:
        _, address, count = struct.unpack_from(">BHH", request, 7)
        return registers_reply(request) if address + count <= 100 else reply(request, b"\x83\x02")
    return reply(request, bytes([request[7] | 0x80, 1]))


def config(reach: str) -> str:
    return (
        "gateway: {id: gw-01}\npublishers: []\ndevices:\n"
        f"  - {{id: meter, driver: modbus, {reach}, unit: 3, interval: {INTERVAL_S * 1000:g}ms,\n"
        "     points: [{name: a, holding: 7, type: uint16}]}\n"
    )


@asynccontextmanager
async def running(folder: Path, reach: str) -> AsyncIterator[AgentProcess]:
    one = AgentProcess(folder, config(reach))
    await asyncio.to_thread(one.start)
    try:
        yield one
    finally:
        assert await asyncio.to_thread(one.stop) == 0


async def start(*words: str, folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        EDGE_AGENT,
        "probe",
        "modbus",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env={"RUNTIME_DIRECTORY": str(folder), "PATH": "/usr/bin:/bin"},
    )


async def probe(*words: str, folder: Path) -> tuple[int | None, str, str]:
    process = await start(*words, folder=folder)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def functions(server: ScriptedServer) -> set[int]:
    return {request[7] for request in server.requests}


@pytest.mark.slow
async def test_the_agent_passes_requests_on_and_loses_no_reading(folder: Path) -> None:
    async with (
        scripted_server(meter) as server,
        running(folder, f"host: localhost, port: {server.port}") as agent,
    ):
        target = f"127.0.0.1:{server.port}"
        before = await asyncio.to_thread(agent.metrics)
        code, out, err = await probe(
            target, "--json", "--units", "1..4", "--timeout", "100ms", "--know", "holding:7=7", folder=folder
        )
        assert (code, err) == (0, "")
        found = json.loads(out)
        assert found["through_agent"] == ["meter"]
        assert [unit["unit"] for unit in found["units"]] == [3]
        assert found["units"][0]["ranges"] == [{"table": "holding", "first": 0, "last": 99, "not_zero": 99}]
        assert server.connections == 1
        assert functions(server) <= READS
        metrics = await asyncio.to_thread(agent.metrics)
        assert metrics["edge_agent_readings_bad_total"] == 0
        assert metrics["edge_agent_overruns_total"] == 0
        assert metrics["edge_agent_readings_total"] > before["edge_agent_readings_total"]
        status: Any = await asyncio.to_thread(agent.status)
        assert status["devices"][0]["phase"] == "online"

        code, out, _ = await probe(
            target, "--json", "--units", "3", "--ranges", "none", "--second-client", folder=folder
        )
        assert json.loads(out)["through_agent"] is None
        assert server.connections == 2
    own = [request for request in server.requests if request[6:] == bytes.fromhex("03 03 0007 0001")]
    readings = await asyncio.to_thread(lambda: list(Export(folder / "state" / "outbox.db").readings()))
    assert {reading["status"] for reading in readings} == {0}
    # The first probe's first question is the same as the agent's; a stop may cut the last one short.
    assert len(own) - 2 <= len(readings) <= len(own) - 1


@pytest.mark.slow
async def test_a_write_is_not_passed_on(folder: Path) -> None:
    async with scripted_server(meter) as server, running(folder, f"host: 127.0.0.1, port: {server.port}") as agent:
        socket = agent.folder / "control.sock"

        def exchange(request: object, line: str = f"tcp://127.0.0.1:{server.port}", timeout_s: float = 1.0) -> Any:
            return act(socket, "line-exchange", {"line": line, "request": request, "timeout_s": timeout_s})

        async def refused(*arguments: Any) -> str:
            with pytest.raises(EdgeAgentError) as told:
                await asyncio.to_thread(exchange, *arguments)
            return str(told.value)

        lines = (await asyncio.to_thread(act, socket, "lines"))["lines"]
        assert lines == [
            {
                "line": f"tcp://127.0.0.1:{server.port}",
                "driver": "modbus",
                "devices": ["meter"],
                "reach": {"host": "127.0.0.1", "port": server.port},
            }
        ]
        for pdu in ("0600010002", "0500010000", "10000100010200ff", "08000000ff", "2b0d", "16000100ff0000", ""):
            assert "only reads" in await refused({"unit": 3, "pdu": pdu}) or not pdu
        assert "in hexadecimal" in await refused({"unit": 3, "pdu": "xx"})
        assert "in hexadecimal" in await refused({"unit": 300, "pdu": "0300000001"})
        assert "must be an object" in await refused("0300000001")
        assert "no line" in await refused({"unit": 3, "pdu": "0300000001"}, "tcp://nowhere:502")
        assert "timeout_s" in await refused({"unit": 3, "pdu": "0300000001"}, lines[0]["line"], 1e9)
        got = await asyncio.to_thread(exchange, {"unit": 3, "pdu": "0300070001"})
        assert got == {"pdu": "03020007"}
        assert (await asyncio.to_thread(exchange, {"unit": 4, "pdu": "0300070001"}, lines[0]["line"], 0.05)) == {
            "silent": True
        }
        assert functions(server) == {3}


@pytest.mark.slow
async def test_a_serial_line_of_the_agent_is_probed_through_it_with_its_settings(folder: Path) -> None:
    async with rtu_line(lambda request: 0.0 if request[0] in {3, 5} else None) as line:
        serial = f"serial: {{port: {line.path}, baud_rate: 38400, parity: none}}"
        async with running(folder, serial) as agent:
            code, out, err = await probe(
                line.path, "--units", "1..5", "--timeout", "50ms", "--addresses", "0..9",
                "--know", "holding:7=5007", "--write", "m.yaml", folder=folder,
            )  # fmt: skip
            assert (code, err) == (0, "written: m.yaml; next: edge-agent check m.yaml --plan\n")
            assert "asked through the running agent, which holds the line for meter" in out
            (device,) = (await asyncio.to_thread(load, folder / "m.yaml", Registry())).devices
            assert device.config.unpack().serial.baud_rate == 38400  # type: ignore[attr-defined]
            assert device.config.unpack().unit == 5  # type: ignore[attr-defined]
            code, _, err = await probe(line.path, "--baud-rates", "9600", folder=folder)
            assert code == 1
            assert "held by the running agent for meter" in err
            code, _, err = await probe(line.path, "--second-client", folder=folder)
            assert code == 1
            assert "in use by another program" in err
            assert (await asyncio.to_thread(agent.metrics))["edge_agent_readings_bad_total"] == 0
        assert {request[1] for request in line.requests} <= READS | {8}


@pytest.mark.slow
@pytest.mark.parametrize("is_through_agent", [False, True])
async def test_ctrl_c_stops_at_once_and_leaves_nothing(folder: Path, is_through_agent: bool) -> None:
    async with scripted_server(meter) as server:
        words = (f"127.0.0.1:{server.port}", "--units", "10..20", "--timeout", "20s", "--know", "holding:7=7")

        async def stopped() -> None:
            process = await start(*words, "--write", "m.yaml", folder=folder)
            await eventually(lambda: any(request[6] == 10 for request in server.requests), within_s=10)
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(10):  # half of what it gives each unit
                out, err = await process.communicate()
            assert (process.returncode, out, err) == (130, b"", b"")

        if is_through_agent:
            async with running(folder, f"host: 127.0.0.1, port: {server.port}") as agent:
                await stopped()
                seen = len(server.requests)  # the line is free again, long before the probe's time was up
                await eventually(lambda: len(server.requests) > seen + 3, within_s=10)
                assert server.connections == 1
                assert (await asyncio.to_thread(agent.metrics))["edge_agent_readings_bad_total"] == 0
        else:
            await stopped()
            await eventually(lambda: not server.writers)
        assert not any("m.yaml" in name for name in names(folder))


async def test_what_is_written_is_a_configuration(folder: Path) -> None:
    async with scripted_server(meter) as server:
        target = f"127.0.0.1:{server.port}"
        words = ("--units", "3", "--ranges", "none", "--know", "register:40008=7", "--write", "meter.yaml")
        assert (await probe(target, *words, folder=folder))[0] == 0
        options = await asyncio.to_thread(load, folder / "meter.yaml", Registry())
        assert [device.id for device in options.devices] == ["meter"]
        text = (folder / "meter.yaml").read_text()
        assert "{name: holding_7, register: 40008, type: int16}" in text
        asked = len(server.requests)

        code, _, err = await probe(target, *words, folder=folder)
        assert (code, err) == (1, "edge-agent: meter.yaml exists; --force overwrites it\n")
        assert len(server.requests) == asked  # found out before the work
        assert (await probe(target, *words, "--force", folder=folder))[0] == 0

        code, _, err = await probe(target, *words[:-1], "no/folder.yaml", folder=folder)
        assert code == 1
        assert "no is not a folder" in err
        code, _, err = await probe(target, "--write", "x.yaml", folder=folder)
        assert code == 1
        assert "--write needs --know" in err
        wrong = (*words[:-3], "register:40008=77", "--write", "x.yaml")
        code, out, err = await probe(target, *wrong, folder=folder)
        assert code == 1
        assert "0 of 1 known values fit" in out
        assert "may be chance" in out
        assert "x.yaml is not written" in err
    assert names(folder) == ["meter.yaml"]


async def test_the_agent_is_found_by_its_configuration(folder: Path) -> None:
    code, _, err = await probe("127.0.0.1:1", "--config", "no-such.yaml", folder=folder)
    assert code == 78
    assert "no-such.yaml" in err


async def test_a_driver_without_the_ability_says_so(folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        EDGE_AGENT, "probe", "opcua", "h", stderr=asyncio.subprocess.PIPE, cwd=folder
    )
    _, err = await process.communicate()
    assert process.returncode == 1
    assert err == b"edge-agent: the driver opcua cannot probe; modbus can\n"


def on_a_terminal(command: list[str], folder: Path) -> str:
    """Return what a command prints on a terminal without colours, of 80 columns."""
    near, far = os.openpty()
    environment = {"RUNTIME_DIRECTORY": str(folder), "PATH": "/usr/bin:/bin", "TERM": "dumb"}
    with subprocess.Popen(command, stdout=far, stderr=subprocess.PIPE, cwd=folder, env=environment) as process:
        os.close(far)
        printed = b""
        while True:
            try:
                printed += os.read(near, 4096)
            except OSError:  # the far end is closed
                break
    os.close(near)
    assert process.returncode == 0
    return printed.decode().replace("\r\n", "\n")


@pytest.mark.slow
def test_the_example_of_the_page_is_what_happens(folder: Path) -> None:
    page = (ROOT / "docs/probe.md").read_text()
    simulation, written = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    command, printed = re.findall(
        r"^```console\n\$ edge-agent (probe[^\n]*)\n(unit.*?)^```", page, re.MULTILINE | re.DOTALL
    )[0]
    port = str(free_port())
    (folder / "meter.yaml").write_text(simulation.replace("15020", port))
    simulate = [str(EDGE_AGENT), "simulate", str(folder / "meter.yaml")]
    with subprocess.Popen(simulate, stdout=subprocess.PIPE, text=True) as meter:
        assert meter.stdout is not None
        assert "listening" in meter.stdout.readline()
        got = on_a_terminal([str(EDGE_AGENT), *command.replace("15020", port).split()], folder)
        meter.send_signal(signal.SIGINT)
    plain = "\n".join(line.rstrip() for line in got.splitlines())
    assert plain == printed.rstrip()
    assert (folder / "found.yaml").read_text().replace(port, "15020") == written
    load(folder / "found.yaml", Registry())
