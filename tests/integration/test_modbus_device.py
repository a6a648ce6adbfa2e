"""The driver against a device in C: types, orders, isolation of refused points, several units on a line."""

import asyncio
import struct
from typing import Any

import pytest

from edge_agent.collect.line import Lines
from edge_agent.errors import DeviceUnavailableError, ExchangeError
from edge_agent.model import Quality, ReadingBatch
from edge_agent.testing.conformance import check_device, check_unavailable
from edge_agent.testing.eventually import eventually
from edge_agent.testing.fakes import FakeClock, FakeContext
from edge_agent_modbus.config import ModbusDevice
from edge_agent_modbus.session import ModbusUnit
from tests.servers.modbus_device import read_all, read_once, transport_of, unit, values, words
from tests.servers.modbus_server import (
    Gesture,
    libmodbus_server,
    registers_reply,
    reply,
    scripted_server,
)


async def test_strings_bits_and_scaled_values() -> None:
    body = "机床-01".encode().ljust(12, b"\0") + struct.pack(">hH", 235, 0x8001)
    points: list[dict[str, Any]] = [
        {"register": 40011, "type": "string", "length": 12},
        {"holding": 16, "type": "INT", "scale": 0.1},
        {"holding": 17, "bit": 15},
        {"holding": 17, "bit": 1},
    ]
    with libmodbus_server(registers={(1, 3, 10): body}) as server:
        assert await read_once(unit(server.port, points)) == {0: "机床-01", 1: 23.5, 2: 1, 3: 0}


async def test_all_four_tables_of_several_units_give_their_own_values() -> None:
    points: list[dict[str, Any]] = [
        {"holding": 7, "type": "uint16"},
        {"input": 7, "type": "uint16"},
        {"coil": 7},
        {"discrete": 7},
    ]
    lines = Lines()
    with libmodbus_server() as server:
        got = {number: await read_once(unit(server.port, points, lines, unit=number)) for number in (1, 2, 17)}
    assert got == {
        1: {0: 1007, 1: 31007, 2: 1, 3: 0},
        2: {0: 2007, 1: 32007, 2: 0, 3: 1},
        17: {0: 17007, 1: 47007, 2: 1, 3: 0},
    }


async def test_conforms_to_the_contract() -> None:
    points = [*words(*range(0, 300, 2)), {"coil": 3}, {"input": 9, "type": "REAL"}]
    with libmodbus_server() as server:
        await check_device(unit(server.port, points), point_count=len(points))


async def test_a_device_that_is_not_there_conforms_too(unused_tcp_port: int) -> None:
    await check_unavailable(unit(unused_tcp_port, words(0)))


async def test_several_refused_registers_are_found_in_one_read() -> None:
    refused = {3, 40, 41, 99}
    with libmodbus_server(illegal=[(1, 3, a, a) for a in refused]) as server:
        device = unit(server.port, words(*range(125)))
        session = await device.connect()
        batch = await session.read(device.plan(device.polled, frozenset())[0])
        await session.close()
    assert batch.refused == refused
    assert all((values(batch)[i] == 1000 + i) is (i not in refused) for i in range(125))


async def test_a_device_that_gives_less_than_the_standard_is_read_in_parts_that_are_remembered() -> None:
    with libmodbus_server(most={1: 40}) as server:
        device = unit(server.port, words(*range(125)))
        session = await device.connect()
        (request,) = device.plan(device.polled, frozenset())
        counts = []
        for _ in range(3):
            batch = await session.read(request)
            assert values(batch) == {i: 1000 + i for i in range(125)}
            assert batch.refused == frozenset()
            counts.append(len(server.requests()))
        await session.close()
    assert counts == [7, 11, 15], "1 + 2 + 4 requests at first, 4 in each read after"


async def test_parts_for_which_there_is_no_time_are_bad_now_and_come_at_the_next_read() -> None:
    clock = FakeClock()

    def slow(request: bytes, _: int) -> bytes:
        clock._monotonic_s += 1.0
        first, count = struct.unpack_from(">HH", request, 8)
        return reply(request, b"\x83\x02") if first <= 5 < first + count else registers_reply(request)

    async with scripted_server(slow) as server:
        config = {"id": "d", "driver": "modbus", "host": "127.0.0.1", "port": server.port, "timeout": "3s"}
        points = [{"name": f"p{i}", "holding": i, "type": "uint16"} for i in range(8)]
        device = ModbusUnit(FakeContext(clock=clock), ModbusDevice.model_validate(config | {"points": points}))
        session = await device.connect()
        (request,) = device.plan(device.polled, frozenset())
        first = await session.read(request)
        bad = {i for i, value in values(first).items() if value == Quality.BAD_TIMEOUT}
        assert first.refused == frozenset()
        assert bad == {4, 5, 6, 7}
        assert {i: v for i, v in values(first).items() if i not in bad} == {0: 0, 1: 1, 2: 2, 3: 3}
        batches: list[ReadingBatch] = []
        while not batches or not batches[-1].refused:
            batches.append(await session.read(request))
            assert len(batches) < 10
        assert batches[-1].refused == {5}
        await session.close()


@pytest.mark.parametrize(
    ("code", "status"),
    [(1, Quality.BAD_NOT_SUPPORTED), (2, Quality.BAD_NODE_ID_UNKNOWN), (3, Quality.BAD_CONFIGURATION_ERROR)],
)
async def test_what_the_device_will_never_give_is_refused(code: int, status: Quality) -> None:
    async with scripted_server(lambda request, _: reply(request, bytes([0x83, code]))) as server:
        device = unit(server.port, words(0, 1))
        session = await device.connect()
        batch = await session.read(device.plan(device.polled, frozenset())[0])
        await session.close()
    assert values(batch) == {0: status, 1: status}
    assert batch.refused == {0, 1}


@pytest.mark.parametrize(
    ("code", "status"), [(4, Quality.BAD_DEVICE_FAILURE), (8, Quality.BAD_DEVICE_FAILURE), (99, Quality.BAD)]
)
async def test_trouble_in_the_device_makes_readings_bad_and_refuses_nothing(code: int, status: Quality) -> None:
    async with scripted_server(lambda request, _: reply(request, bytes([0x83, code]))) as server:
        device = unit(server.port, words(0, 1))
        session = await device.connect()
        batch = await session.read(device.plan(device.polled, frozenset())[0])
        await session.close()
    assert (values(batch), batch.refused) == ({0: status, 1: status}, frozenset())
    most = 3 if code == 4 else 1
    assert len(server.requests) == most, "searched for a point where the whole device is in trouble"


@pytest.mark.parametrize("code", [5, 6])
async def test_a_busy_device_is_asked_again_in_the_same_read(code: int) -> None:
    async with scripted_server(
        lambda request, n: registers_reply(request) if n else reply(request, bytes([0x83, code]))
    ) as server:
        device = unit(server.port, words(4))
        session = await device.connect()
        assert await read_all(device, session) == {0: 4}
        assert len(server.requests) == 2
        await session.close()


async def test_a_device_that_stays_busy_gives_nothing_and_is_not_asked_without_end() -> None:
    async with scripted_server(lambda request, _: reply(request, b"\x83\x06")) as server:
        device = unit(server.port, words(4), timeout="1s")
        session = await device.connect()
        with pytest.raises(ExchangeError, match="busy \\(exception 6\\)"):
            await read_all(device, session)
        assert len(server.requests) <= 4
        await session.close()


@pytest.mark.parametrize("code", [10, 11])
async def test_a_unit_that_its_gateway_does_not_reach_costs_the_exchange_and_nothing_else(code: int) -> None:
    lines = Lines()
    with libmodbus_server(exceptions={7: code}) as server:
        dead, alive = unit(server.port, words(0), lines, unit=7), unit(server.port, words(0), lines, unit=8)
        dead_session, session = await dead.connect(), await alive.connect()
        with pytest.raises(ExchangeError, match=rf"unit 7 at 127.0.0.1:.*exception {code}.*check unit:"):
            await read_all(dead, dead_session)
        await dead_session.close()
        assert await read_all(alive, session) == {0: 8000}
        assert transport_of(session).lost is None
        await session.close()


async def test_a_reset_shows_at_once_to_each_unit_and_the_line_comes_back() -> None:
    lines = Lines()
    async with scripted_server(lambda request, n: Gesture.RESET if n == 1 else registers_reply(request)) as server:
        first, second = unit(server.port, words(1), lines, unit=1), unit(server.port, words(2), lines, unit=2)
        one, two = await first.connect(), await second.connect()
        assert await read_all(first, one) == {0: 1}
        with pytest.raises(DeviceUnavailableError, match=rf"127.0.0.1:{server.port} broke the connection"):
            await read_all(second, two)
        with pytest.raises(DeviceUnavailableError):
            await read_all(first, one)
        await one.close()
        await two.close()
        one, two = await first.connect(), await second.connect()
        assert transport_of(one) is transport_of(two)
        assert [await read_all(first, one), await read_all(second, two)] == [{0: 1}, {0: 2}]
        assert server.connections == 2
        await one.close()
        await two.close()


async def test_a_connection_that_died_while_nobody_asked_is_not_handed_out() -> None:
    lines = Lines()
    async with scripted_server(lambda request, _: registers_reply(request)) as server:
        first, second = unit(server.port, words(1), lines, unit=1), unit(server.port, words(2), lines, unit=2)
        idle = await first.connect()
        transport_of(idle).close()
        session = await second.connect()
        assert await read_all(second, session) == {0: 2}
        await session.close()
        await idle.close()


async def test_units_on_a_line_take_turns() -> None:
    lines = Lines()
    async with scripted_server(lambda _request, _: Gesture.SILENCE) as server:
        devices = [unit(server.port, words(number), lines, unit=number) for number in (1, 2)]
        sessions = [await device.connect() for device in devices]
        async with asyncio.TaskGroup() as group:
            reads = [group.create_task(read_all(d, s)) for d, s in zip(devices, sessions, strict=True)]
            for number in (1, 2):
                await eventually(lambda number=number: len(server.requests) >= number)  # type: ignore[misc]
                await FakeClock().settle()
                assert len(server.requests) == number, "asked while another one waits for its answer"
                server.send(registers_reply(server.requests[-1]))
        assert [read.result() for read in reads] == [{0: 1}, {0: 2}]
        for session in sessions:
            await session.close()


async def test_closing_twice_takes_no_neighbour_off_the_line() -> None:
    lines = Lines()
    with libmodbus_server() as server:
        first, second = unit(server.port, words(1), lines, unit=1), unit(server.port, words(2), lines, unit=2)
        one, two = await first.connect(), await second.connect()
        await one.close()
        await one.close()
        assert await read_all(second, two) == {0: 2002}
        await two.close()
        assert transport_of(two).lost is not None, "the last one left the light on"


async def test_the_time_of_answers_is_measured_for_the_plans_to_come() -> None:
    clock = FakeClock()

    def slow(request: bytes, _: int) -> bytes:
        clock._monotonic_s += 0.04
        return registers_reply(request)

    async with scripted_server(slow) as server:
        context = FakeContext(clock=clock)
        config = {"id": "d", "driver": "modbus", "host": "127.0.0.1", "port": server.port}
        points = [{"name": "p", "holding": 1, "type": "uint16"}]
        device = ModbusUnit(context, ModbusDevice.model_validate(config | {"points": points}))
        session = await device.connect()
        (request,) = device.plan(device.polled, frozenset())
        for _ in range(30):
            await session.read(request)
        await session.close()
    assert dict(context.state) == {"answer_time_us": "50000"}
    assert device.estimate(request).duration_s == pytest.approx(0.05, rel=0.01)
