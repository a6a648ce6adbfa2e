"""A probe before real devices: libmodbus in C, a serial line, the project's simulator. It never writes."""

import itertools
import os
import socket
import struct
import termios
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edge_agent.clock import Clock, SystemClock
from edge_agent.errors import DeviceUnavailableError, ProbeError
from edge_agent.probing import ProbeReport, Probing
from edge_agent.simulating import SimulationEventKind
from edge_agent_modbus.probe.run import run
from edge_agent_modbus.rtu import open_serial
from edge_agent_modbus.serial_port import SerialModel
from tests.servers.modbus_bus import libmodbus_line
from tests.servers.modbus_foreign import ascii_gateway, udp_server
from tests.servers.modbus_rtu import rtu_line, value
from tests.servers.modbus_server import Answer, Gesture, libmodbus_server, registers_reply, reply, scripted_server
from tests.servers.simulated_modbus import simulated, simulated_device

SYSTEM_CLOCK = SystemClock()
READS = {1, 2, 3, 4, 0x2B}


class FastClock(SystemClock):
    """A minute passes in a second, for those who wait for a time."""

    def monotonic_s(self) -> float:
        return 60 * super().monotonic_s()


async def probe(target: str, clock: Clock = SYSTEM_CLOCK, /, **settings: str | list[str]) -> ProbeReport:
    """Probe without an agent; the progress never goes back, and ends at 1."""
    told: list[float] = []
    written = {
        name.replace("_", "-"): [given] if isinstance(given, str) else given for name, given in settings.items()
    }
    report = await run(target, written, Probing(clock, (), lambda _what, done: told.append(done)))
    assert told == sorted(told)
    assert told[-1] == 1.0
    return report


def units_of(report: ProbeReport) -> list[dict[str, Any]]:
    units: Any = report.body["units"]
    return list(units)


def ranges_of(unit: dict[str, Any]) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = {}
    for run_ in unit["ranges"]:
        found.setdefault(run_["table"], []).append((run_["first"], run_["last"]))
    return found


@pytest.mark.slow
async def test_units_and_ranges_of_a_device_in_c_with_few_requests() -> None:
    illegal = [
        (2, 3, 0, 9), (2, 3, 40, 40), (2, 3, 100, 65535),
        (2, 4, 0, 19999), (2, 4, 20064, 65535),
        (2, 1, 64, 65535), (2, 2, 0, 65535),
    ]  # fmt: skip
    with libmodbus_server(
        illegal=illegal, silent=(1, 4), exceptions={3: 11, 5: 2, 6: 10}, registers={(2, 3, 10): bytes(180)}
    ) as server:
        report = await probe(f"127.0.0.1:{server.port}", units="1..6", timeout="100ms")
        requests = server.requests()
    assert [unit["unit"] for unit in units_of(report)] == [2, 5]
    assert ranges_of(units_of(report)[0]) == {
        "holding": [(10, 39), (41, 99)],
        "input": [(20000, 20063)],
        "coil": [(0, 63)],
    }
    assert [run_["not_zero"] for run_ in units_of(report)[0]["ranges"]] == [0, 0, 64, 31]
    assert ranges_of(units_of(report)[1]) == {}
    assert {function for _, function, _, _ in requests} <= READS
    assert sum(unit == 2 for unit, *_ in requests) < 4 * 700
    assert report.is_success


async def test_all_that_a_device_has_is_read_in_full_requests_and_its_limit_is_found() -> None:
    with libmodbus_server(most={1: 50}) as server:
        report = await probe(f"127.0.0.1:{server.port}", units="1", addresses="0..999", ranges="thorough")
        requests = server.requests()
    assert ranges_of(units_of(report)[0]) == {
        table: [(0, 999)] for table in ("holding", "input", "coil", "discrete")
    }
    assert units_of(report)[0]["max_registers"] == 50
    assert len(requests) < 4 * (1000 / 50 + 20)


@pytest.mark.slow
async def test_known_values_tell_type_order_scale_and_place() -> None:
    registers = {
        (7, 3, 9): struct.pack(">f", 230.5)[2:] + struct.pack(">f", 230.5)[:2],
        (7, 3, 19): struct.pack(">I", 1234567)[2:] + struct.pack(">I", 1234567)[:2],
        (7, 4, 4): struct.pack(">h", -213),
    }
    with libmodbus_server(registers=registers) as server:
        report = await probe(
            f"127.0.0.1:{server.port}",
            units="6,7",
            ranges="none",
            know=["register:40010=230.5", "register:40020=123456.7", "register:30005=-21.3"],
        )
        functions = {function for _, function, _, _ in server.requests()}
    (device,) = report.devices
    assert device["unit"] == 7
    assert device["points"] == [
        {"name": "holding_9", "register": 40010, "type": "float32", "byte_order": "CDAB"},
        {"name": "holding_19", "register": 40020, "type": "uint32", "byte_order": "CDAB", "scale": 0.1},
        {"name": "input_4", "register": 30005, "type": "int16", "scale": 0.1},
    ]
    assert any("unit 7: all 3 known values fit: byte order CDAB" in note for note in report.notes)
    assert functions <= READS


async def test_a_device_says_who_it_is_and_what_does_not_fit_is_told() -> None:
    device = simulated_device(
        [{"holding": 3, "type": "int16", "signal": {"shape": "constant", "value": 7}}],
        unit=3,
        identification={"vendor": "ACME", "product_code": "M-3", "revision": "1.2"},
    )
    async with simulated(device) as plant:
        report = await probe(f"127.0.0.1:{plant.ports[0]}", units="3", know="holding:3=50", addresses="0..9")
        assert len(plant.details(SimulationEventKind.CONNECTED)) == 1
    (unit,) = units_of(report)
    assert unit["identification"] == {"vendor_name": "ACME", "product_code": "M-3", "revision": "1.2"}
    assert ranges_of(unit) == {"holding": [(3, 3)]}
    assert not report.devices
    assert not report.is_success
    assert any("0 of 1 known values fit" in note for note in report.notes)


async def test_a_device_that_does_not_look_at_the_unit_is_searched_once() -> None:
    """Its first register counts, so that no two answers are the same."""
    count = itertools.count(1)

    def script(request: bytes, _number: int) -> Answer:
        if request[7] != 3:
            return reply(request, bytes([request[7] | 0x80, 1]))
        quantity = int.from_bytes(request[10:12])
        return reply(request, bytes([3, 2 * quantity]) + next(count).to_bytes(2) + bytes(2 * quantity - 2))

    async with scripted_server(script) as server:
        report = await probe(f"127.0.0.1:{server.port}", addresses="0..99")
        assert server.connections == 1
    (unit,) = units_of(report)
    assert unit["unit"] == 1
    assert len(unit["same"]) == 17
    assert ranges_of(unit) == {"holding": [(0, 99)]}
    assert any("the device does not look at the number" in note for note in report.notes)


@pytest.mark.slow
async def test_units_that_all_answer_and_differ_are_not_taken_for_one() -> None:
    with libmodbus_server() as server:
        report = await probe(f"127.0.0.1:{server.port}", units="0..3,255", ranges="none")
    assert [unit["unit"] for unit in units_of(report)] == [0, 1, 2, 3, 255]


@pytest.mark.slow
async def test_silence_where_nothing_is_ends_the_search_of_a_table_soon() -> None:
    def script(request: bytes, _number: int) -> Answer:
        function, address, count = struct.unpack_from(">BHH", request.ljust(12, b"\0"), 7)
        return registers_reply(request) if function == 3 and address + count <= 8 else Gesture.SILENCE

    async with scripted_server(script) as server:
        report = await probe(f"127.0.0.1:{server.port}", units="1", timeout="20ms", addresses="0..999")
        assert len(server.requests) < 3 * (24 + 3 * 8) + 20  # twice each, and whether it is still there
        assert server.connections == 1
    assert ranges_of(units_of(report)[0]) == {"holding": [(0, 7)]}
    assert any("input: no further than 0: no answer, 8 times" in note for note in report.notes)


async def test_a_busy_device_is_asked_again() -> None:
    def script(request: bytes, number: int) -> Answer:
        return reply(request, bytes([request[7] | 0x80, 6])) if number % 2 == 0 else registers_reply(request)

    async with scripted_server(script) as server:
        report = await probe(f"127.0.0.1:{server.port}", units="1", ranges="none", know="holding:5=5")
    assert report.is_success


async def test_a_device_that_breaks_the_connection_is_connected_again() -> None:
    def script(request: bytes, _number: int) -> Answer:
        return Gesture.CLOSE if request[6] != 3 else registers_reply(request)

    async with scripted_server(script) as server:
        report = await probe(f"127.0.0.1:{server.port}", units="1..3", ranges="none")
        assert server.connections == 3
    assert [unit["unit"] for unit in units_of(report)] == [3]


async def test_nobody_there_is_told(unused_tcp_port: int) -> None:
    with pytest.raises(DeviceUnavailableError, match="nothing listens there"):
        await probe(f"127.0.0.1:{unused_tcp_port}")
    async with scripted_server(lambda _request, _number: Gesture.SILENCE) as server:
        report = await probe(f"127.0.0.1:{server.port}", units="1..3", timeout="20ms")
    assert not report.is_success
    assert any("no unit of 1..3 answered" in note for note in report.notes)


def setting_of(path: str) -> tuple[int, bool]:
    """Return the speed of the near end of a pseudo-terminal and whether its parity would be odd."""
    file = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        settings = termios.tcgetattr(file)
    finally:
        os.close(file)
    return settings[4], bool(settings[2] & termios.PARODD)


@pytest.mark.slow
async def test_units_of_a_serial_line_and_its_settings() -> None:
    """A pseudo-terminal carries bytes at any setting; the far end is deaf to those that are not its own."""
    seen: list[tuple[int, bool]] = []

    def delay_s(request: bytes) -> float | None:
        setting = setting_of(line.path)
        seen.append(setting)
        return 0.0 if setting == (termios.B19200, True) and request[0] in {2, 9} else None

    async with rtu_line(delay_s) as line:
        report = await probe(line.path, units="1..9", timeout="30ms", addresses="0..20", know="holding:7=2007")
        functions = {request[1] for request in line.requests}
        with pytest.raises(ProbeError, match="is for a serial port"):
            await probe("127.0.0.1", baud_rates="9600")
    assert [unit["unit"] for unit in units_of(report)] == [2, 9]
    assert {(unit["baud_rate"], unit["parity"]) for unit in units_of(report)} == {(19200, "odd")}
    assert ranges_of(units_of(report)[0]) == {"holding": [(0, 20)], "input": [(0, 20)]}
    assert value(2, 7) == 2007
    assert [device["unit"] for device in report.devices] == [2]
    assert report.devices[0]["serial"] == {"port": line.path, "baud_rate": 19200, "parity": "odd"}
    assert {speed for speed, _ in seen} >= {termios.B9600, termios.B115200}
    assert functions <= READS | {8}  # 8: the fence behind a request that was not answered
    assert len(seen) < 400


async def test_a_port_that_another_process_holds_is_told() -> None:
    async with rtu_line() as line:
        transport = await open_serial(SerialModel(port=line.path), 0.002, 1.0)
        with pytest.raises(DeviceUnavailableError, match="in use by another program"):
            await probe(line.path)
        transport.close()
    with pytest.raises(DeviceUnavailableError, match="is not there"):
        await probe(str(Path("/dev/no-such-port")))


@pytest.mark.slow
@pytest.mark.parametrize("over_tcp", [False, True])
async def test_units_in_c_on_a_line(over_tcp: bool) -> None:
    registers = {(5, 3, 9): struct.pack("<f", 230.5)}
    with libmodbus_line([2, 5], over_tcp=over_tcp, registers=registers) as line:
        port = line.keys.get("serial", {}).get("port")
        report = await probe(
            port or f"127.0.0.1:{line.keys['port']}",
            **({} if port else {"transport": "rtu_over_tcp"}),
            units="1..6",
            timeout="200ms",
            addresses="0..300",
            know="register:40010=230.5",
        )
        requests = line.server.requests()
    assert [unit["unit"] for unit in units_of(report)] == [2, 5]
    tables = ("holding", "input", "coil", "discrete")
    assert ranges_of(units_of(report)[0]) == {table: [(0, 300)] for table in tables}
    (device,) = report.devices
    assert device["points"] == [{"name": "holding_9", "register": 40010, "type": "float32", "byte_order": "DCBA"}]
    assert device.get("transport") == ("rtu_over_tcp" if over_tcp else None)
    assert {function for _, function, _, _ in requests} <= READS | {8}


async def test_another_program_that_is_connected_is_left_alone() -> None:
    async with scripted_server(lambda request, _number: registers_reply(request)) as server:
        for host in ("127.0.0.1", "localhost", "::ffff:127.0.0.1"):
            with (
                socket.create_connection(("127.0.0.1", server.port)),
                pytest.raises(ProbeError, match="another program on this machine is connected"),
            ):
                await probe(f"[{host}]:{server.port}" if ":" in host else f"{host}:{server.port}")
        assert not server.requests


async def test_a_device_that_is_slow_now_and_then_is_not_taken_for_one_that_refuses() -> None:
    """Every seventh request is never answered; nothing of it shows in what is found."""
    numbers = itertools.count(1)

    def script(request: bytes, _number: int) -> Answer:
        if next(numbers) % 7 == 0:
            return Gesture.SILENCE
        if request[7] != 3:
            return reply(request, bytes([request[7] | 0x80, 1]))
        _, address, count = struct.unpack_from(">BHH", request, 7)
        return registers_reply(request) if address + count <= 300 else reply(request, b"\x83\x02")

    async with scripted_server(script) as server:
        report = await probe(
            f"127.0.0.1:{server.port}", units="1", timeout="30ms", addresses="0..999", know="holding:9=9"
        )
    assert ranges_of(units_of(report)[0]) == {"holding": [(0, 299)]}
    assert report.is_success


async def test_a_unit_that_goes_away_ends_the_search() -> None:
    def script(request: bytes, number: int) -> Answer:
        return registers_reply(request) if number < 2 and request[7] == 3 else Gesture.SILENCE

    async with scripted_server(script) as server:
        target = f"127.0.0.1:{server.port}"
        report = await probe(target, FastClock(), units="1", timeout="10ms", addresses="0..99", know="holding:7=7")
        assert len(server.requests) < 20
    assert any("does not answer any more" in note for note in report.notes)
    assert not report.is_success


async def test_a_value_that_is_given_whole_or_not_at_all_is_found() -> None:
    """The device refuses to give one register of the two that a value has."""
    value_at_9 = struct.pack(">f", 230.5)

    def script(request: bytes, _number: int) -> Answer:
        if request[7:] == bytes.fromhex("03 0009 0002"):
            return reply(request, b"\x03\x04" + value_at_9)
        return reply(request, bytes([request[7] | 0x80, 2]))

    async with scripted_server(script) as server:
        report = await probe(f"127.0.0.1:{server.port}", units="1", ranges="none", know="register:40010=230.5")
    assert report.devices[0]["points"] == [{"name": "holding_9", "register": 40010, "type": "float32"}]


async def test_every_key_of_the_json_is_in_the_page() -> None:
    with libmodbus_server() as server:
        report = await probe(f"127.0.0.1:{server.port}", units="1", addresses="0..9", know="holding:3=1003")

    def keys(body: object) -> set[str]:
        if isinstance(body, dict):
            return set(body).union(*map(keys, body.values()))
        return set().union(*map(keys, body)) if isinstance(body, list) else set()

    page = (Path(__file__).parents[2] / "docs/probe.md").read_text()
    told = keys(report.body) - {"vendor_name", "port", "host", "name", "holding", "type", "byte_order", "scale"}
    assert len(told) > 20
    assert not [key for key in sorted(told) if f"`{key}`" not in page]


@pytest.mark.slow
@pytest.mark.parametrize("serve", [udp_server, partial(udp_server, host="::1"), ascii_gateway])
async def test_other_transports(serve: Callable[..., AbstractAsyncContextManager[dict[str, Any]]]) -> None:
    async with serve([2, 5]) as keys:
        host = f"[{keys['host']}]" if ":" in keys["host"] else keys["host"]
        report = await probe(
            f"{host}:{keys['port']}",
            transport=keys["transport"],
            units="2,5",  # a number that it does not have, this server answers with an exception
            timeout="100ms",
            addresses="0..299",
            know="holding:7=5007",
        )
    assert [unit["unit"] for unit in units_of(report)] == [2, 5]
    assert ranges_of(units_of(report)[0])["holding"] == [(0, 199)]
    (device,) = report.devices
    assert {key: device[key] for key in keys} == keys
