"""The simulator before the agent's own driver: every type and order, and each fault with what becomes of it."""

import asyncio
from typing import Any

import pytest

from edge_agent.errors import DeviceUnavailableError, ExchangeError, SimulationError
from edge_agent.model import Quality
from edge_agent.simulating import SimulationEventKind
from edge_agent.testing.eventually import eventually
from edge_agent.testing.fakes import FakeClock
from edge_agent_modbus.source import ByteOrder, ValueType
from tests.servers.modbus_device import read_all, read_once, transport_of, unit, words
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


POINTS: list[dict[str, Any]] = [
    {"holding": address, "type": "uint16", "signal": {"shape": "constant", "value": 100 + address}}
    for address in range(4)
]
GOOD = {0: 100, 1: 101, 2: 102, 3: 103}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"kind": "exception", "code": 11, "times": 1}, "exception 11"),
        ({"kind": "garble", "what": "count", "times": 1}, "not with 8 bytes"),
        ({"kind": "garble", "what": "function", "times": 1}, "answered with 02"),
        ({"kind": "garble", "what": "unit", "times": 1}, "unit 129 answered"),
    ],
)
async def test_a_wrong_answer_costs_the_exchange_and_nothing_else(fault: dict[str, Any], message: str) -> None:
    async with simulated(simulated_device(POINTS, faults=[fault])) as server:
        device = unit(server.ports[0], words(0, 1, 2, 3))
        session = await device.connect()
        with pytest.raises(ExchangeError, match=message):
            await read_all(device, session)
        assert await read_all(device, session) == GOOD
        await session.close()
        assert len(server.details(SimulationEventKind.FAULT)) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "exception", "code": 6, "times": 1},
        {"kind": "exception", "code": 5, "times": 1},
        {"kind": "short", "times": 1},
    ],
)
async def test_a_busy_or_short_answer_is_mended_in_the_same_read(fault: dict[str, Any]) -> None:
    async with simulated(simulated_device(POINTS, faults=[fault])) as server:
        device = unit(server.ports[0], words(0, 1, 2, 3))
        session = await device.connect()
        assert await read_all(device, session) == GOOD
        await session.close()
        assert len(server.details(SimulationEventKind.FAULT)) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop", "times": 1},
        {"kind": "drop", "reset": True, "times": 1},
        {"kind": "garble", "what": "header", "times": 1},
    ],
)
async def test_a_broken_connection_costs_the_session_and_the_next_one_is_well(fault: dict[str, Any]) -> None:
    async with simulated(simulated_device(POINTS, faults=[fault])) as server:
        device = unit(server.ports[0], words(0, 1, 2, 3))
        session = await device.connect()
        with pytest.raises(DeviceUnavailableError):
            await read_all(device, session)
        await session.close()
        assert await read_once(device) == GOOD


@pytest.mark.parametrize(
    "fault", [{"kind": "silence"}, {"kind": "late"}, {"kind": "garble", "what": "transaction"}]
)
async def test_an_answer_that_does_not_come_in_time_is_never_taken_for_the_next(fault: dict[str, Any]) -> None:
    async with simulated(simulated_device(POINTS, faults=[fault | {"times": 1}])) as server:
        device = unit(server.ports[0], words(0, 1, 2, 3))
        session = await device.connect()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await read_all(device, session)
        assert await read_all(device, session) == GOOD
        assert transport_of(session).discarded == (0 if fault["kind"] == "silence" else 1)
        await session.close()


async def test_a_refused_register_costs_itself() -> None:
    faults = [{"kind": "exception", "code": 2, "at": "holding 2"}]
    async with simulated(simulated_device(POINTS, faults=faults)) as server:
        got = await read_once(unit(server.ports[0], words(0, 1, 2, 3)))
    assert got == GOOD | {2: Quality.BAD_NODE_ID_UNKNOWN}


async def test_a_device_that_gives_less_at_once_than_the_agent_asks_is_read_in_parts() -> None:
    async with simulated(simulated_device(POINTS, max_registers=2)) as server:
        assert await read_once(unit(server.ports[0], words(0, 1, 2, 3))) == GOOD
        assert len(server.details(SimulationEventKind.REQUEST)) == 3


async def test_a_delay_lasts_as_long_as_it_says() -> None:
    clock = FakeClock()
    faults = [{"kind": "delay", "delay": "30s"}]
    async with simulated(simulated_device(POINTS, faults=faults), clock=clock) as server:
        device = unit(server.ports[0], words(0, 1, 2, 3))
        async with asyncio.TaskGroup() as group:
            read = group.create_task(read_once(device))
            await eventually(lambda: len(server.details(SimulationEventKind.FAULT)) == 1)
            await clock.advance(29.9)
            assert not read.done()
            await clock.advance(0.2)
        assert read.result() == GOOD


async def test_a_reboot_takes_the_device_away_and_its_counters_begin_anew() -> None:
    clock = FakeClock()
    points = [{"holding": 0, "type": "uint16", "signal": {"shape": "counter", "start": 7}}]
    faults = [{"kind": "reboot", "after": "1min", "down": "5s", "times": 1}]
    async with simulated(simulated_device(points, faults=faults), clock=clock) as server:
        device = unit(server.ports[0], words(0))
        await clock.advance(50)
        assert await read_once(device) == {0: 57}
        await clock.advance(15)
        with pytest.raises(DeviceUnavailableError):
            await read_once(device)
        with pytest.raises(DeviceUnavailableError, match="nothing listens"):
            await read_once(device)
        await clock.advance(5)
        assert await read_once(device) == {0: 7}


async def test_units_behind_one_address_are_told_apart_and_an_unknown_one_does_not_answer() -> None:
    devices = [
        simulated_device(
            [{"holding": 0, "type": "INT", "signal": {"shape": "constant", "value": n}}], id=f"d{n}", unit=n
        )
        for n in (1, 2)
    ]
    async with simulated(*devices) as server:
        assert server.ports[0] == server.ports[1]
        assert [await read_once(unit(server.ports[0], words(0), unit=n)) for n in (1, 2)] == [{0: 1}, {0: 2}]
        with pytest.raises(ExchangeError, match="exception 11"):
            await read_once(unit(server.ports[0], words(0), unit=3))


async def test_two_units_of_one_number_at_one_address_are_refused() -> None:
    with pytest.raises(ExceptionGroup) as refused:
        async with simulated(simulated_device(POINTS), simulated_device(POINTS, id="e")):
            pass
    assert refused.group_contains(SimulationError, match="d and e are both unit 1")
