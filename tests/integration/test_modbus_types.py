"""Every type in every order, read from a device in C over each wire."""

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from edge_agent_modbus.session import ModbusUnit
from edge_agent_modbus.source import ByteOrder, ValueType
from tests.servers.modbus_bus import libmodbus_line
from tests.servers.modbus_device import read_once, unit, unit_on
from tests.servers.modbus_server import libmodbus_server

Points = list[dict[str, Any]]
Served = Callable[[Mapping[tuple[int, int, int], bytes], Points], AbstractContextManager[ModbusUnit]]
"""Takes registers (by unit, table, address) and points; gives the device that reads them."""


@contextmanager
def over_tcp(registers: Mapping[tuple[int, int, int], bytes], points: Points) -> Iterator[ModbusUnit]:
    with libmodbus_server(registers=registers) as server:
        yield unit(server.port, points)


@contextmanager
def over_rtu(registers: Mapping[tuple[int, int, int], bytes], points: Points) -> Iterator[ModbusUnit]:
    with libmodbus_line(registers=registers) as line:
        yield unit_on(line.keys, points)


@contextmanager
def over_rtu_through_a_gateway(
    registers: Mapping[tuple[int, int, int], bytes], points: Points
) -> Iterator[ModbusUnit]:
    with libmodbus_line(registers=registers, over_tcp=True) as line:
        yield unit_on(line.keys, points)


@pytest.fixture(params=[over_tcp, over_rtu, over_rtu_through_a_gateway], ids=["tcp", "rtu", "rtu_over_tcp"])
def served(request: pytest.FixtureRequest) -> Served:
    served: Served = request.param
    return served


ORDERS: dict[ByteOrder, Callable[[bytes], bytes]] = {
    ByteOrder.ABCD: lambda body: body,
    ByteOrder.CDAB: lambda body: b"".join(body[i : i + 2] for i in range(len(body) - 2, -1, -2)),
    ByteOrder.BADC: lambda body: b"".join(body[i : i + 2][::-1] for i in range(0, len(body), 2)),
    ByteOrder.DCBA: lambda body: body[::-1],
}
# By type: keys that it needs, its registers in the order of the standard, the value.
MULTI: dict[ValueType, tuple[dict[str, Any], bytes, Any]] = {
    ValueType.INT16: ({}, struct.pack(">h", -12345), -12345),
    ValueType.UINT16: ({}, struct.pack(">H", 54321), 54321),
    ValueType.INT32: ({}, struct.pack(">i", -123456789), -123456789),
    ValueType.UINT32: ({}, struct.pack(">I", 3123456789), 3123456789),
    ValueType.INT64: ({}, struct.pack(">q", -1234567890123456789), -1234567890123456789),
    ValueType.UINT64: ({}, struct.pack(">Q", 12345678901234567890), 12345678901234567890),
    ValueType.FLOAT16: ({}, bytes.fromhex("c248"), -3.140625),
    ValueType.FLOAT32: ({}, struct.pack(">f", -1.5), -1.5),
    ValueType.FLOAT64: ({}, struct.pack(">d", 1.23456789e200), 1.23456789e200),
    ValueType.BCD16: ({}, bytes.fromhex("1234"), 1234),
    ValueType.BCD32: ({}, bytes.fromhex("12345678"), 12345678),
    ValueType.BCD64: ({}, bytes.fromhex("1234567890123456"), 1234567890123456),
    ValueType.STRING: ({"length": 7, "encoding": "gbk"}, "机床01".encode("gbk") + b"\0\0", "机床01"),
    ValueType.BYTES: ({"length": 6}, b"\1\2\3\4\5\6", b"\1\2\3\4\5\6"),
    ValueType.UNIX_SECONDS: ({}, bytes.fromhex("499602d2"), "2009-02-13T23:31:30Z"),
    ValueType.UNIX_SECONDS64: ({}, bytes.fromhex("00000000499602d2"), "2009-02-13T23:31:30Z"),
    ValueType.UNIX_MILLISECONDS: ({}, bytes.fromhex("0000011f71fb04cb"), "2009-02-13T23:31:30.123Z"),
    ValueType.TIME_BCD: ({}, bytes.fromhex("261123080506"), "2026-11-23T08:05:06Z"),
    ValueType.TIME_BYTES: ({"time_zone": "Asia/Shanghai"}, bytes.fromhex("1a0b17080506"), "2026-11-23T00:05:06Z"),
    ValueType.TIME_REGISTERS: ({}, struct.pack(">6H", 2026, 11, 23, 8, 5, 6), "2026-11-23T08:05:06Z"),
    ValueType.TIME_IEC870: ({}, bytes.fromhex("001a0b170805176f"), "2026-11-23T08:05:05.999Z"),
    ValueType.S7_DATE_AND_TIME: ({}, bytes.fromhex("2611230805069992"), "2026-11-23T08:05:06.999Z"),
    ValueType.S7_DTL: ({}, bytes.fromhex("07ea0b17020805063b9ac9ff"), "2026-11-23T08:05:06.999999999Z"),
}
# What has one order: keys, register, value.
SINGLE: list[tuple[dict[str, Any], bytes, Any]] = [
    ({"type": "int8"}, b"\x7f\x80", -128),
    ({"type": "int8", "byte": "high"}, b"\x7f\x80", 127),
    ({"type": "uint8"}, b"\x7f\x80", 128),
    ({"type": "uint8", "byte": "high"}, b"\x80\x7f", 128),
    *[({"bit": bit}, struct.pack(">H", 1 << bit), 1) for bit in range(16)],
    *[({"bit": bit}, struct.pack(">H", 0xFFFF ^ 1 << bit), 0) for bit in range(16)],
]


def test_no_type_is_left_out() -> None:
    assert set(ValueType) - MULTI.keys() == {ValueType.BOOL, ValueType.INT8, ValueType.UINT8}


@pytest.mark.parametrize(("table", "function"), [("holding", 3), ("input", 4)])
async def test_all_types_in_all_orders(served: Served, table: str, function: int) -> None:
    points: Points = []
    expected: list[Any] = []
    body = b""
    for keys, register, value in SINGLE:
        points.append({table: 40 + len(body) // 2, **keys})
        body += register
        expected.append(value)
    for kind, (keys, honest, value) in MULTI.items():
        for order, arrange in ORDERS.items():
            points.append({table: 40 + len(body) // 2, "type": kind.word, "byte_order": order.value, **keys})
            body += arrange(honest)
            expected.append(value)
    with served({(1, function, 40): body}, points) as device:
        got = await read_once(device)
    assert [got[index] for index in range(len(points))] == expected
