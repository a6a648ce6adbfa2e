"""The simulator before the agent's own driver: every type and order, and each fault with what becomes of it."""

from typing import Any

from edge_agent_modbus.source import ByteOrder, ValueType
from tests.servers.modbus_device import read_once, unit
from tests.servers.simulated_modbus import simulated, simulated_device

VALUES: dict[ValueType, Any] = {
    ValueType.INT8: -5,
    ValueType.UINT8: 250,
    ValueType.INT16: -12345,
    ValueType.UINT16: 54321,
    ValueType.INT32: -123456789,
    ValueType.UINT32: 3123456789,
    ValueType.INT64: -1234567890123456789,
    ValueType.UINT64: 12345678901234567890,
    ValueType.FLOAT16: -1.5,
    ValueType.FLOAT32: 0.125,
    ValueType.FLOAT64: 1.23456789e200,
    ValueType.BCD16: 9876,
    ValueType.BCD32: 98765432,
    ValueType.BCD64: 9876543210987654,
    ValueType.STRING: "press-01",
    ValueType.BYTES: "ab",
}


async def test_every_type_in_every_order_is_read_as_it_was_set() -> None:
    points: list[dict[str, Any]] = []
    expected: list[Any] = []
    for kind, value in VALUES.items():
        has_words = kind.is_number and kind.registers > 1
        for order in ByteOrder if has_words else [ByteOrder.ABCD]:
            point = {
                "holding": 8 * len(points),
                "type": kind.word,
                "signal": {"shape": "constant", "value": value},
            }
            if has_words:
                point["byte_order"] = order.value
            if not kind.is_number:
                point["length"] = 10
            points.append(point)
            expected.append(value if kind is not ValueType.BYTES else b"ab".ljust(10, b"\0"))
    points += [
        {"coil": 3, "signal": {"shape": "constant", "value": True}},
        {"discrete": 4, "signal": {"shape": "constant", "value": False}},
        {"input": 5, "type": "INT", "scale": 0.1, "signal": {"shape": "constant", "value": 23.5}},
        {"input": 6, "bit": 0, "signal": {"shape": "constant", "value": True}},
        {"input": 6, "bit": 15, "signal": {"shape": "constant", "value": True}},
        {"input": 6, "bit": 7, "signal": {"shape": "constant", "value": False}},
    ]
    expected += [1, 0, 23.5, 1, 1, 0]
    async with simulated(simulated_device(points)) as server:
        got = await read_once(unit(server.ports[0], [_without_signal(point) for point in points]))
    assert [got[index] for index in range(len(points))] == expected


async def test_every_type_moves_without_being_told_how() -> None:
    points: list[dict[str, Any]] = [
        {"holding": 8 * index, "type": kind.word} | ({} if kind.is_number or kind.is_time else {"length": 10})
        for index, kind in enumerate(kind for kind in ValueType if kind is not ValueType.BOOL)
    ]
    async with simulated(simulated_device(points)) as server:
        got = await read_once(unit(server.ports[0], points))
    assert all(isinstance(value, str | bytes | float) or value < 0x8000_0000 for value in got.values()), got


def _without_signal(point: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in point.items() if key != "signal"}
