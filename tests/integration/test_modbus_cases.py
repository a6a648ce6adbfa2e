"""Every folder in tests/cases/modbus that has a configuration, on each wire, to devices in C and simulated ones.

A case is three files:

- ``config.yaml``: a whole configuration; the devices are at 127.0.0.1, which becomes where the server is.
- ``server.yaml``: what the units hold and refuse, by unit number: ``holding`` and ``input`` (address: words in
  hex), ``illegal`` (table: first and last addresses), ``most`` (registers at once), ``exception``, ``silent``.
  What it does not say is as ``tests/servers/libmodbus_server.c`` has it.
- ``expected.yaml``: ``plan`` (lines of ``check --plan`` by device), ``readings`` (by device and point: a value or
  the name of a status, the same in two cycles), ``failures`` (by device: the error instead of readings),
  ``requests`` (how many in each cycle; without it those on the wire must be the planned ones), or ``problems`` (of
  the configuration, and nothing else).
"""

import asyncio
import json
import re
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

from edge_agent.collect.line import Lines
from edge_agent.collect.options import DeviceOptions
from edge_agent.collect.schedule import by_interval
from edge_agent.config import load
from edge_agent.driver import Request
from edge_agent.errors import ConfigError, ExchangeError
from edge_agent.model import Quality
from edge_agent.registry import Registry
from edge_agent.simulating import SimulationEventKind
from edge_agent.testing.fakes import FakeContext
from edge_agent_modbus.pdu import Table, read_pdu
from edge_agent_modbus.session import ModbusUnit
from edge_agent_modbus.simulator.config import SimulatedDevice
from tests.servers.modbus_bus import libmodbus_line
from tests.servers.modbus_device import values
from tests.servers.modbus_server import libmodbus_server
from tests.servers.simulated_modbus import Simulated, simulated, simulated_device

FOLDER = Path(__file__).parents[1] / "cases" / "modbus"
CASES = sorted(path.parent for path in FOLDER.glob("*/config.yaml"))
CYCLES = 2


def _folder_name(case: Path) -> str:
    return case.name


class CaseDevice:
    """One device of a case, polled as the agent does: planned anew when something was refused."""

    def __init__(self, options: DeviceOptions, lines: Lines) -> None:
        device = options.spec.create(FakeContext(options.id, lines=lines), options.config.unpack())
        assert isinstance(device, ModbusUnit)
        self.id = options.id
        self._options = options
        self._device = device
        self._refused: set[int] = set()
        self._plan: list[Request] = []

    def plan(self) -> list[Request]:
        groups = by_interval(self._device.polled, self._options.intervals_s)
        plan: list[Request] = [
            request for _, points in groups for request in self._device.plan(points, self._refused)
        ]
        if [str(request) for request in plan] != [str(request) for request in self._plan]:
            self._plan = plan
        return self._plan

    async def open(self) -> None:
        self._session = await self._device.connect()

    async def close(self) -> None:
        await self._session.close()

    async def cycle(self) -> dict[str, Any]:
        batches = [await self._session.read(request) for request in self.plan()]
        for batch in batches:
            self._refused |= batch.refused
        names = self._options.table.names
        return {names[index]: _name(value) for index, value in sorted(values(*batches).items())}


def _name(value: object) -> object:
    """Return the name of a Bad status; values in the cases are smaller."""
    return Quality(value).name if isinstance(value, int) and value >> 31 == 1 else value


class Server(Protocol):
    """What units were asked."""

    def requests(self) -> list[tuple[int, int, int, int]]:
        """Return the requests so far: unit, function, address, count."""
        ...


@dataclass(frozen=True)
class Place:
    """Where the devices of a case are, as keys of their configuration."""

    keys: Mapping[str, Any]
    server: Server


Wire = Callable[[Sequence[int], Path, dict[str, Any]], AbstractAsyncContextManager[Place]]
"""Takes units, a folder and ``server_options``."""
FAST = 4_000_000  # baud: a gap costs as little as on TCP, so plans are the same


@asynccontextmanager
async def libmodbus_tcp(_units: Sequence[int], _folder: Path, options: dict[str, Any]) -> AsyncIterator[Place]:
    with libmodbus_server(**options) as server:
        yield Place({"host": "127.0.0.1", "port": server.port}, server)


@asynccontextmanager
async def libmodbus_rtu(units: Sequence[int], _folder: Path, options: dict[str, Any]) -> AsyncIterator[Place]:
    with libmodbus_line(units, **options) as line:
        yield Place({"serial": {**line.keys["serial"], "baud_rate": FAST}}, line.server)


@asynccontextmanager
async def libmodbus_rtu_over_tcp(
    units: Sequence[int], _folder: Path, options: dict[str, Any]
) -> AsyncIterator[Place]:
    with libmodbus_line(units, over_tcp=True, **options) as line:
        yield Place(line.keys, line.server)


@asynccontextmanager
async def simulated_tcp(units: Sequence[int], _folder: Path, options: dict[str, Any]) -> AsyncIterator[Place]:
    async with simulated(*(simulated_unit(unit, options) for unit in units)) as server:
        yield Place({"host": "127.0.0.1", "port": server.ports[0]}, Told(server))


@asynccontextmanager
async def simulated_rtu(units: Sequence[int], folder: Path, options: dict[str, Any]) -> AsyncIterator[Place]:
    serial = {"port": str(folder / "line"), "baud_rate": FAST, "parity": "none"}
    async with simulated(*(simulated_unit(unit, options, serial=serial) for unit in units)) as server:
        yield Place({"serial": serial}, Told(server))


@asynccontextmanager
async def simulated_ascii_over_tcp(
    units: Sequence[int], _folder: Path, options: dict[str, Any]
) -> AsyncIterator[Place]:
    keys = {"transport": "ascii_over_tcp"}
    async with simulated(*(simulated_unit(unit, options, **keys) for unit in units)) as server:
        yield Place({"host": "127.0.0.1", "port": server.ports[0], **keys}, Told(server))


@dataclass(frozen=True)
class Told:
    """The requests that a simulation told of."""

    simulation: Simulated

    def requests(self) -> list[tuple[int, int, int, int]]:
        told = []
        for text in self.simulation.details(SimulationEventKind.REQUEST):
            unit, function, first, last = map(int, re.findall(r"\d+", text))
            told.append((unit, function, first, last - first + 1))
        return told


def simulated_unit(unit: int, options: dict[str, Any], **keys: Any) -> SimulatedDevice:
    """Return a unit that holds and does what ``libmodbus_server`` would by these options."""
    words = {
        (function, first + place): word
        for (number, function, first), body in options["registers"].items()
        if number == unit
        for place, (word,) in enumerate(struct.iter_unpack(">H", body))
    }
    own: dict[Table, Callable[[int], int]] = {
        Table.COIL: lambda address: bool((address // 3 + unit) & 1),
        Table.DISCRETE: lambda address: not (address // 3 + unit) & 1,
        Table.HOLDING: lambda address: words.get((3, address), (1000 * unit + address) % 65536),
        Table.INPUT: lambda address: words.get((4, address), (1000 * unit + address + 30000) % 65536),
    }
    points = [
        {
            table.word: address,
            **({} if table.has_bits else {"type": "uint16"}),
            "signal": {"shape": "constant", "value": value(address)},
        }
        for table, value in own.items()
        for address in range(320 if table is Table.HOLDING else 40)
    ]
    names = {table.value: table.word for table in Table}
    faults: list[dict[str, Any]] = [
        {"kind": "exception", "code": 2, "at": f"{names[function]} {first}..{last}"}
        for number, function, first, last in options["illegal"]
        if number == unit
    ]
    if unit in options["exceptions"]:
        faults.append({"kind": "exception", "code": options["exceptions"][unit]})
    if unit in options["silent"]:
        faults.append({"kind": "silence"})
    most = {"max_registers": options["most"][unit]} if unit in options["most"] else {}
    return simulated_device(points, id=f"unit-{unit}", unit=unit, faults=faults, **most, **keys)


def server_options(case: Path) -> dict[str, Any]:
    """Return what ``libmodbus_server`` is told of a case."""
    units: Mapping[int, Mapping[str, Any]] = yaml.safe_load((case / "server.yaml").read_text())
    functions = {table.word: table.value for table in Table}
    return {
        "registers": {
            (unit, functions[table], address): bytes.fromhex(words)
            for unit, says in units.items()
            for table in ("holding", "input")
            for address, words in says.get(table, {}).items()
        },
        "illegal": [
            (unit, functions[table], first, last)
            for unit, says in units.items()
            for table, ranges in says.get("illegal", {}).items()
            for first, last in ranges
        ],
        "most": {unit: says["most"] for unit, says in units.items() if "most" in says},
        "exceptions": {unit: says["exception"] for unit, says in units.items() if "exception" in says},
        "silent": [unit for unit, says in units.items() if says.get("silent")],
    }


def configured(case: Path, keys: Mapping[str, Any], folder: Path) -> tuple[DeviceOptions, ...]:
    written = [f"{key}: {json.dumps(value)}" for key, value in keys.items()]
    text = (case / "config.yaml").read_text()
    text = re.sub(
        r"^( +)host: 127.0.0.1$",
        lambda line: "\n".join(line[1] + each for each in written),
        text,
        flags=re.MULTILINE,
    )
    path = folder / "config.yaml"
    path.write_text(text.replace("host: 127.0.0.1,", f"{', '.join(written)},"))
    return tuple(load(path, Registry()).devices)


WIRES: list[Wire] = [
    libmodbus_tcp, libmodbus_rtu, libmodbus_rtu_over_tcp, simulated_tcp, simulated_rtu,
    simulated_ascii_over_tcp,
]  # fmt: skip


@pytest.fixture(params=WIRES, ids=[wire.__name__ for wire in WIRES])
async def served(
    request: pytest.FixtureRequest, case: Path, tmp_path: Path
) -> AsyncIterator[tuple[Server, tuple[DeviceOptions, ...]]]:
    document = yaml.safe_load((case / "config.yaml").read_text())
    units = sorted({device.get("unit", 1) for device in document["devices"]})
    async with request.param(units, tmp_path, server_options(case)) as place:
        yield place.server, await asyncio.to_thread(configured, case, place.keys, tmp_path)


@pytest.mark.parametrize("case", [case for case in CASES if (case / "server.yaml").exists()], ids=_folder_name)
async def test_case(case: Path, served: tuple[Server, tuple[DeviceOptions, ...]]) -> None:
    server, options = served
    expected: dict[str, Any] = yaml.safe_load((case / "expected.yaml").read_text())
    lines = Lines()
    devices = [CaseDevice(each, lines) for each in options]
    plans = {device.id: [str(request) for request in device.plan()] for device in devices}
    assert {name: plans[name] for name in expected.get("plan", {})} == expected.get("plan", {})
    for device in devices:
        await device.open()
    counts = [await _cycle(devices, server, expected) for _ in range(CYCLES)]
    for device in devices:
        await device.close()
    assert counts == expected.get("requests", counts)


@pytest.mark.parametrize("case", [case for case in CASES if not (case / "server.yaml").exists()], ids=_folder_name)
def test_case_of_a_configuration_that_is_refused(case: Path, tmp_path: Path) -> None:
    expected: list[str] = yaml.safe_load((case / "expected.yaml").read_text())["problems"]
    with pytest.raises(ConfigError) as caught:
        configured(case, {"host": "127.0.0.1", "port": 502}, tmp_path)
    for problem, part in zip(caught.value.problems, expected, strict=True):
        assert part in str(problem)


async def _cycle(devices: list[CaseDevice], server: Server, expected: dict[str, Any]) -> int:
    """Read every device once; return how many requests that took."""
    before, readings, planned = len(server.requests()), dict[str, Any](), list[bytes]()
    for device in devices:
        planned += [request.pdu for request in device.plan()]  # type: ignore[attr-defined]
        if device.id in expected.get("failures", {}):
            with pytest.raises(ExchangeError, match=expected["failures"][device.id]):
                await device.cycle()
        else:
            readings[device.id] = await device.cycle()
    assert readings == expected["readings"]
    on_the_wire = server.requests()[before:]
    if "requests" not in expected:
        assert [read_pdu(Table(t), address, count) for _, t, address, count in on_the_wire] == planned
    return len(on_the_wire)
