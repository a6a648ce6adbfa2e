"""The simulator with RTU and ASCII frames, on a serial line and as a gateway, before the agent's own driver."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from edge_agent.clock import SystemClock
from edge_agent.collect.line import Lines
from edge_agent.errors import DeviceUnavailableError, ExchangeError, SimulationError
from edge_agent.model import Quality
from edge_agent.simulating import Simulation, SimulationEventKind
from edge_agent.testing.eventually import eventually
from edge_agent_modbus.rtu import crc
from edge_agent_modbus.serial_port import SerialModel
from edge_agent_modbus.session import ModbusUnit
from edge_agent_modbus.simulator.framing import RtuFraming
from edge_agent_modbus.simulator.serial import SerialLine
from tests.servers.modbus_device import read_all, read_once, unit_on, words
from tests.servers.simulated_modbus import Simulated, simulated, simulated_device

Points = list[dict[str, Any]]


def constant(address: int, value: int) -> dict[str, Any]:
    return {"holding": address, "type": "uint16", "signal": {"shape": "constant", "value": value}}


POINTS: Points = [constant(address, 100 + address) for address in range(4)]
GOOD = {0: 100, 1: 101, 2: 102, 3: 103}

Place = dict[str, Any]
"""Keys of the configuration of a device there."""
Served = Callable[..., AbstractAsyncContextManager[tuple[Simulated, Place]]]


@pytest.fixture(params=["rtu", "rtu_over_tcp", "ascii", "ascii_over_tcp"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Served:
    """Take the keys of each device; give the running devices and where they are."""
    is_serial = request.param in {"rtu", "ascii"}
    line = {"port": str(tmp_path / "line"), "baud_rate": 115_200, "parity": "none", "data_bits": 8}

    @asynccontextmanager
    async def serve(*devices: dict[str, Any], points: Points = POINTS) -> AsyncIterator[tuple[Simulated, Place]]:
        wire: Place = {"transport": request.param, **({"serial": line} if is_serial else {})}
        async with simulated(*(simulated_device(points, **wire, **keys) for keys in devices)) as server:
            yield server, wire if is_serial else {**wire, "host": "127.0.0.1", "port": server.ports[0]}

    return serve


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "silence"},
        {"kind": "garble", "what": "check"},
        {"kind": "garble", "what": "unit"},
        {"kind": "garble", "what": "function"},
        {"kind": "short"},
        {"kind": "late"},
    ],
)
async def test_a_lost_or_wrong_frame_costs_a_second_try(served: Served, fault: dict[str, Any]) -> None:
    async with served({"faults": [{**fault, "times": 1}]}) as (server, place):
        device = unit_on(place, words(0, 1, 2, 3), timeout="400ms")
        session = await device.connect()
        assert await read_all(device, session) == GOOD
        assert await read_all(device, session) == GOOD
        await session.close()
        assert len(server.details(SimulationEventKind.FAULT)) == 1


async def test_exceptions_concern_what_they_concern(served: Served) -> None:
    faults = [{"kind": "exception", "code": 2, "at": "holding 2"}]
    async with served({"faults": faults}) as (_, place):
        got = await read_once(unit_on(place, words(0, 1, 2, 3)))
    assert got == GOOD | {2: Quality.BAD_NODE_ID_UNKNOWN}


async def test_a_contradiction_in_a_right_frame_costs_the_exchange(served: Served) -> None:
    async with served({"faults": [{"kind": "garble", "what": "count", "times": 1}]}) as (_, place):
        device = unit_on(place, words(0, 1, 2, 3))
        session = await device.connect()
        with pytest.raises(ExchangeError, match="not with 8 bytes"):
            await read_all(device, session)
        assert await read_all(device, session) == GOOD
        await session.close()


async def test_a_delayed_answer_is_never_taken_for_the_next(served: Served) -> None:
    points = [constant(address, address) for address in (0, 500)]
    faults = [{"kind": "delay", "delay": "150ms", "at": "holding 0"}]
    async with served({"faults": faults}, points=points) as (_, place):
        lines = Lines()
        slow, quick = unit_on(place, words(0), lines), unit_on(place, words(500), lines)
        session = await slow.connect()
        for _ in range(5):
            with pytest.raises((TimeoutError, ExchangeError)):
                async with asyncio.timeout(0.05):
                    await read_all(slow, session)
            await reads(quick, {0: 500})
        await session.close()


async def reads(device: ModbusUnit, expected: dict[int, int]) -> None:
    """Read until it gives something; that must be what is expected."""
    end_s = asyncio.get_running_loop().time() + 10
    while asyncio.get_running_loop().time() < end_s:
        try:
            async with asyncio.timeout(0.5):
                assert await read_once(device) == expected
        except (TimeoutError, ExchangeError, DeviceUnavailableError):
            await asyncio.sleep(0.01)
        else:
            return
    raise AssertionError("gave nothing within 10 s")


async def test_units_share_a_line_and_one_that_is_not_there_is_silent(served: Served) -> None:
    async with served({"id": "d1", "unit": 1}, {"id": "d2", "unit": 2}) as (server, place):
        assert server.places[0] == server.places[1]
        for number in (1, 2):
            assert await read_once(unit_on(place, words(0, 1, 2, 3), unit=number)) == GOOD
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await read_once(unit_on(place, words(0), unit=3))


async def test_after_a_reboot_everything_begins_anew(served: Served) -> None:
    points = [{"holding": 0, "type": "uint16", "signal": {"shape": "counter", "start": 7, "every": "1h"}}]
    faults = [{"kind": "reboot", "down": "100ms", "times": 1}]
    async with served({"faults": faults}, points=points) as (server, place):
        device = unit_on(place, words(0), timeout="60ms")
        with pytest.raises((TimeoutError, DeviceUnavailableError)):
            async with asyncio.timeout(0.05):
                await read_once(device)

        await reads(device, {0: 7})
        assert len(server.details(SimulationEventKind.FAULT)) == 1


async def test_a_gateway_breaks_connections_and_a_serial_line_has_none(tmp_path: Path) -> None:
    drop = {"kind": "drop", "times": 1}
    async with simulated(simulated_device(POINTS, transport="rtu_over_tcp", faults=[drop])) as server:
        keys = {"host": "127.0.0.1", "port": server.ports[0], "transport": "rtu_over_tcp"}
        device = unit_on(keys, words(0, 1, 2, 3))
        session = await device.connect()
        with pytest.raises(DeviceUnavailableError):
            await read_all(device, session)
        await session.close()
        assert await read_once(device) == GOOD
    with pytest.raises(ValidationError, match="a serial line has no connection"):
        simulated_device(POINTS, serial={"port": str(tmp_path / "line")}, faults=[drop])


@pytest.mark.parametrize(
    ("what", "keys"),
    [
        ("check", {"host": "127.0.0.1"}),
        ("transaction", {"host": "127.0.0.1", "transport": "rtu_over_tcp"}),
        ("header", {"serial": {"port": "line"}}),
    ],
)
def test_what_frames_do_not_have_cannot_be_garbled(what: str, keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="has no meaning with transport:"):
        simulated_device(POINTS, faults=[{"kind": "garble", "what": what}], **keys)


async def test_one_address_has_one_kind_of_frames() -> None:
    devices = simulated_device(POINTS), simulated_device(POINTS, id="e", unit=2, transport="rtu_over_tcp")
    with pytest.raises(ExceptionGroup) as refused:
        async with simulated(*devices):
            pass
    assert refused.group_contains(SimulationError, match="d and e are both at .* tcp and rtu frames")


async def test_answers_take_the_time_of_the_line(tmp_path: Path) -> None:
    line = {"port": str(tmp_path / "line"), "baud_rate": 1200}
    async with simulated(simulated_device(POINTS, serial=line)):
        began_s = asyncio.get_running_loop().time()
        assert await read_once(unit_on({"serial": line}, words(0, 1, 2, 3))) == GOOD
        assert asyncio.get_running_loop().time() - began_s >= (8 + 13) * 11 / 1200


async def test_what_is_no_request_is_for_nobody(served: Served) -> None:
    request = bytes.fromhex("010300000004")
    rtu = (b"\0\xff" * 200, request + b"\0\0", b"\x01\x10", request + crc(request))
    ascii_ = (b"\0\xff" * 200, b":010300000004F9\r\n", b":01x\r\n", b"::010300000004F8\r\n")
    async with served({}) as (server, place):
        opened = os.open(place["serial"]["port"], os.O_RDWR | os.O_NOCTTY) if "serial" in place else None
        if opened is None:
            _, writer = await asyncio.open_connection("127.0.0.1", place["port"])
            send: Callable[[bytes], object] = writer.write
        else:
            send = lambda data: os.write(opened, data)  # noqa: E731 - as short as the other one
        for said in ascii_ if place["transport"].startswith("ascii") else rtu:
            send(said)
            await asyncio.sleep(0.06)  # a silence, which ends frames
        await eventually(lambda: server.details(SimulationEventKind.REQUEST) == ["unit 1 FC3 holding 0..3"])
        if opened is None:
            writer.close()
            await writer.wait_closed()
        else:
            os.close(opened)


async def test_a_line_has_the_configured_name_as_long_as_it_is_simulated(tmp_path: Path) -> None:
    link = tmp_path / "line"
    link.symlink_to("/dev/pts/no-more")  # left by one that was killed
    async with simulated(simulated_device(POINTS, serial={"port": str(link)})) as server:
        assert server.places == [str(link)]
        assert str(link.readlink()).startswith("/dev/pts/")
    assert not link.is_symlink()
    link.write_text("mine")
    with pytest.raises(ExceptionGroup) as refused:
        async with simulated(simulated_device(POINTS, serial={"port": str(link)})):
            pass
    assert refused.group_contains(SimulationError, match="is something else: give port: a name that is free")
    assert link.read_text() == "mine"


async def test_names_in_dev_are_left_to_the_system() -> None:
    async with simulated(
        simulated_device(POINTS, serial={"port": "/dev/no-such-port", "parity": "none"})
    ) as server:
        (place,) = server.places
        assert place.startswith("/dev/pts/")
        assert await read_once(unit_on({"serial": {"port": place, "parity": "none"}}, words(0, 1, 2, 3))) == GOOD


def test_names_in_dev_are_not_taken() -> None:
    line = SerialLine(
        SerialModel(port="/dev/no-such-port"), RtuFraming, (), Simulation(SystemClock(), lambda _: None)
    )
    try:
        assert line.open().startswith("/dev/pts/")
        assert not Path("/dev/no-such-port").is_symlink()
    finally:
        line.close()
        line.close()
