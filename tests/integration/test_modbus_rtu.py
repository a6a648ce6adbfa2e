"""RTU over a pseudo-terminal: whose answer it is, noise, dead units. Timing and parity need hardware."""

import asyncio
import random
import struct
import subprocess
import sys
from typing import Any

import pytest

from edge_agent.collect.line import Lines
from edge_agent.errors import DeviceUnavailableError, ExchangeError
from edge_agent.testing.fakes import FakeContext
from edge_agent_modbus import owed
from edge_agent_modbus.config import ModbusDevice
from edge_agent_modbus.owed import Debts
from edge_agent_modbus.pdu import Table, read_pdu
from edge_agent_modbus.rtu import RtuTransport, crc, open_serial
from edge_agent_modbus.serial_port import SerialModel
from edge_agent_modbus.session import ModbusUnit
from tests.servers.modbus_device import read_once, unit, words
from tests.servers.modbus_rtu import garbled, rtu_line, value


def test_the_check_of_a_known_frame() -> None:
    assert crc(bytes.fromhex("01030000000a")) == bytes.fromhex("c5cd")


async def ask(transport: RtuTransport, station: int, address: int, count: int = 1) -> list[int]:
    answer = await transport.exchange(station, read_pdu(Table.HOLDING, address, count))
    return list(struct.unpack(f">{count}H", answer[2:]))


async def test_thirty_units_on_one_line() -> None:
    async with rtu_line() as line:
        transport = await open_serial(SerialModel(port=line.path), 0.00175, 1.0)
        for station in range(1, 31):
            assert await ask(transport, station, 7, 3) == [value(station, address) for address in (7, 8, 9)]
        transport.close()
    assert len(line.requests) == 30


async def test_a_dead_unit_takes_its_time_and_nothing_else() -> None:
    async with rtu_line(lambda request: None if request[0] == 2 else 0.0) as line:
        transport = await open_serial(SerialModel(port=line.path), 0.002, 0.05)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ask(transport, 2, 0)
        assert await ask(transport, 3, 0) == [3000]
        transport.close()


# What units make of the functions that they are asked for.
UNITS: dict[str, dict[str, Any]] = {
    "echoes": {"knows": (3, 4, 8), "refuses": ()},
    "refuses-8": {"knows": (3, 4), "refuses": (8,)},
    "ignores-8": {"knows": (3, 4), "refuses": ()},
    "knows-3-refuses-the-rest": {"knows": (3,), "refuses": (1, 2, 4, 8)},
    "knows-3-ignores-the-rest": {"knows": (3,), "refuses": ()},
    "has-an-echo": {"knows": (3, 4, 8), "refuses": (), "has_echo": True},
    "has-an-echo-and-ignores-8": {"knows": (3, 4), "refuses": (), "has_echo": True},
}


async def late_answers(count: int, keys: dict[str, Any]) -> None:
    """Ask ``count`` times; every fifth answer comes after the second try has begun, some after the time-out."""
    chance = random.Random(5)

    def delay_s(_: bytes) -> float:
        return chance.choice((0.0, 0.0, 0.0, 0.0, 0.03)) * chance.random()

    answered = 0
    async with rtu_line(delay_s, **keys) as line:
        transport = await open_serial(SerialModel(port=line.path), 0.0005, 0.005)
        for _ in range(count):
            station, address, words = chance.randrange(1, 5), chance.randrange(1000), chance.choice((1, 2, 2, 3))
            try:
                async with asyncio.timeout(0.01):
                    got = await ask(transport, station, address, words)
            except (TimeoutError, ExchangeError):
                continue
            assert got == [value(station, address + k) for k in range(words)]
            answered += 1
        transport.close()
    assert answered > count / 20


@pytest.mark.slow
@pytest.mark.parametrize("name", UNITS)
async def test_a_late_answer_is_never_taken_for_another_requests(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owed, "LATEST_S", 0.5)
    await late_answers(150, UNITS[name])


@pytest.mark.chaos
@pytest.mark.parametrize("name", UNITS)
async def test_no_late_answer_of_five_thousand(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owed, "LATEST_S", 0.5)
    await late_answers(5000, UNITS[name])


async def test_an_echo_of_the_adapter_is_no_answer() -> None:
    write = bytes.fromhex("0600050007")
    async with rtu_line(lambda _: 0.08, knows=(3, 6), refuses=(), has_echo=True) as line:
        transport = await open_serial(SerialModel(port=line.path), 0.002, 0.5)
        assert await ask(transport, 1, 0x203, 3) == [1515, 1516, 1517]
        assert await transport.exchange(1, write) == write
        transport.close()
    assert len(line.requests) == 2, "a second try, although the unit answered"
    async with rtu_line(lambda request: None if request[1] == 6 else 0.0, has_echo=True) as line:
        transport = await open_serial(SerialModel(port=line.path), 0.002, 0.5)
        assert await ask(transport, 1, 7) == [1007]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await transport.exchange(1, write)
        transport.close()


async def test_an_echo_is_known_when_the_line_is_opened_again() -> None:
    debts = Debts()
    async with rtu_line(lambda r: None if r[3] == 6 else 0.0, knows=(3,), refuses=(), has_echo=True) as line:
        transport = await open_serial(SerialModel(port=line.path), 0.002, 0.05, debts)
        assert await ask(transport, 1, 5) == [1005]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ask(transport, 1, 6)
        transport.close()
        transport = await open_serial(SerialModel(port=line.path), 0.002, 0.05, debts)
        with pytest.raises(ExchangeError, match="did not answer function 3 and may still do so"):
            await ask(transport, 1, 7)
        transport.close()


@pytest.mark.slow
async def test_noise_costs_a_second_try() -> None:
    chance = random.Random(7)
    answered = 0
    async with rtu_line(damage=garbled(chance, 0.01)) as line:
        transport = await open_serial(SerialModel(port=line.path), 0.0005, 0.25)
        for number in range(500):
            station, address = number % 30 + 1, chance.randrange(1000)
            try:
                async with asyncio.timeout(0.5):
                    got = await ask(transport, station, address, 4)
            except (TimeoutError, ExchangeError):
                continue
            assert got == [value(station, address + k) for k in range(4)]
            answered += 1
        transport.close()
    assert answered >= 0.97 * 500
    assert len(line.requests) > 500


async def test_a_port_that_is_not_there_or_is_taken_says_what_to_do() -> None:
    with pytest.raises(DeviceUnavailableError, match="/dev/serial/by-id/ has names that stay"):
        await open_serial(SerialModel(port="/dev/no-such-port"), 0.002, 1.0)
    async with rtu_line() as line:
        transport = await open_serial(SerialModel(port=line.path), 0.002, 1.0)
        with pytest.raises(DeviceUnavailableError, match="in use by another program"):
            await open_serial(SerialModel(port=line.path), 0.002, 1.0)
        transport.close()


async def test_two_configured_devices_share_a_port() -> None:
    lines = Lines()
    async with rtu_line() as line:
        serial = {"port": line.path, "parity": "none"}
        for number in (4, 5):
            points = [{"name": f"p{index}", **point} for index, point in enumerate(words(10, 11))]
            keys = {"id": "d", "driver": "modbus", "serial": serial, "unit": number, "points": points}
            device = ModbusUnit(FakeContext(lines=lines), ModbusDevice.model_validate(keys))
            assert await read_once(device) == {0: value(number, 10), 1: value(number, 11)}


async def test_rtu_over_tcp() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readexactly(8)
        answer = request[:2] + b"\x02" + request[2:4]
        for byte in answer + crc(answer):
            writer.write(bytes([byte]))
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await read_once(unit(port, words(77), transport="rtu_over_tcp")) == {0: 77}


def test_modbus_tcp_alone_imports_nothing_for_serial_lines() -> None:
    program = (
        "import sys; from edge_agent_modbus.config import ModbusDevice; from edge_agent_modbus import transport; "
        "transport.wire_of(ModbusDevice.model_validate({'id': 'd', 'driver': 'modbus', 'host': 'h', "
        "'points': [{'name': 'p', 'coil': 1}]})); "
        "assert not {'serial', 'pymodbus', 'edge_agent_modbus.rtu'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
