"""What a bad register, a busy device or a gateway costs the others, counted in requests on the wire."""

import struct

import pytest

from edge_agent.errors import ExchangeError
from edge_agent.model import Quality
from edge_agent.testing.fakes import FakeClock, FakeContext
from edge_agent_modbus.config import ModbusDevice
from edge_agent_modbus.session import ModbusUnit
from tests.servers.modbus_device import read_all, unit, values, words
from tests.servers.modbus_server import libmodbus_server, registers_reply, reply, scripted_server

BAD = {4: Quality.BAD_DEVICE_FAILURE, 2: Quality.BAD_NODE_ID_UNKNOWN}


def touches(request: bytes, *addresses: int) -> bool:
    first, count = struct.unpack_from(">HH", request, 8)
    return any(first <= address < first + count for address in addresses)


@pytest.mark.parametrize("code", [2, 4])
@pytest.mark.parametrize("bad", [0, 61, 124])
async def test_one_bad_register_costs_none_of_the_other_124_whatever_the_device_calls_it(
    code: int, bad: int
) -> None:
    async with scripted_server(
        lambda request, _: (
            reply(request, bytes([0x83, code])) if touches(request, bad) else registers_reply(request)
        )
    ) as server:
        device = unit(server.port, words(*range(125)))
        session = await device.connect()
        (request,) = device.plan(device.polled, frozenset())
        batch = await session.read(request)
        assert values(batch) == {i: i for i in range(125)} | {bad: BAD[code]}
        assert batch.refused == {bad}
        assert len(server.requests) <= 1 + 2 * 7
        await session.close()


async def test_short_answers_are_looked_into_and_cost_the_others_nothing() -> None:
    bad = {61, 100}
    async with scripted_server(
        lambda request, _: reply(request, b"\x03\x00") if touches(request, *bad) else registers_reply(request)
    ) as server:
        device = unit(server.port, words(*range(125)))
        session = await device.connect()
        (request,) = device.plan(device.polled, frozenset())
        batch = await session.read(request)
        assert values(batch) == {i: Quality.BAD_COMMUNICATION_ERROR if i in bad else i for i in range(125)}
        assert batch.refused == bad
        assert len(server.requests) <= 1 + len(bad) * 2 * 7
        await session.close()


async def test_several_bad_registers_are_found_in_one_read() -> None:
    bad = {0, 1, 63, 124}
    with libmodbus_server(illegal=[(1, 3, a, a) for a in bad]) as server:
        device = unit(server.port, words(*range(125)))
        session = await device.connect()
        (request,) = device.plan(device.polled, frozenset())
        batch = await session.read(request)
        assert batch.refused == bad
        assert {i: v for i, v in values(batch).items() if i not in bad} == {
            i: 1000 + i for i in range(125) if i not in bad
        }
        assert len(server.requests()) <= 1 + len(bad) * 2 * 7
        await session.close()


async def test_a_device_in_trouble_as_a_whole_is_not_looked_into_each_time() -> None:
    with libmodbus_server(exceptions={1: 4}) as server:
        device = unit(server.port, words(*range(125)))
        session = await device.connect()
        (request,) = device.plan(device.polled, frozenset())
        for _ in range(5):
            assert set(values(await session.read(request)).values()) == {Quality.BAD_DEVICE_FAILURE}
        assert len(server.requests()) == 5 + 28
        await session.close()


BAD_REGISTERS = {
    "the first twenty": [*range(20)],
    "all but the first two": [*range(2, 125)],
    "the last hundred": [*range(25, 125)],
    "one in each sixteenth": [*range(0, 125, 8)],
    "one in each sixteenth, and the second half": [*range(0, 62, 8), *range(62, 125)],
    "every second": [*range(0, 125, 2)],
}


@pytest.mark.parametrize("code", [2, 4])
@pytest.mark.parametrize("bad", BAD_REGISTERS.values(), ids=BAD_REGISTERS)
async def test_many_bad_registers_cost_none_of_the_others_in_the_same_read(bad: list[int], code: int) -> None:
    def script(request: bytes, _: int) -> bytes:
        return reply(request, bytes([0x83, code])) if touches(request, *bad) else registers_reply(request)

    async with scripted_server(script) as server:
        device = unit(server.port, words(*range(125)))
        session = await device.connect()
        (request,) = device.plan(device.polled, frozenset())
        batch = await session.read(request)
        await session.close()
    assert batch.refused == {*bad}
    assert values(batch) == {i: BAD[code] if i in bad else i for i in range(125)}
    assert len(server.requests) <= 2 * 125


async def test_what_the_first_look_into_a_troubled_device_does_not_find_the_next_ones_do() -> None:
    bad = {*range(123)}  # no data in any part that the first look asks for
    clock = FakeClock()

    def script(request: bytes, _: int) -> bytes:
        return reply(request, b"\x83\x04") if touches(request, *bad) else registers_reply(request)

    async with scripted_server(script) as server:
        device = unit(server.port, words(*range(125)), clock=clock)
        session = await device.connect()
        (request,) = device.plan(device.polled, frozenset())
        looks, refused = [], frozenset[int]()
        while not refused:
            before = len(server.requests)
            refused = (await session.read(request)).refused
            if len(server.requests) - before > 1:
                looks.append(round(clock.monotonic_s()))
            assert clock.monotonic_s() < 2000, looks
            await clock.advance(1)
        await session.close()
    assert refused == bad
    assert len(looks) > 1, "the first look found it: this test shows nothing"
    assert [after - looks[0] for after in looks[:4]] == [0, 30, 90, 210][: len(looks)]
    assert len(looks) <= 4


async def test_a_device_that_stays_in_trouble_is_looked_into_later_each_time() -> None:
    clock = FakeClock()
    async with scripted_server(lambda request, _: reply(request, b"\x83\x04")) as server:
        device = unit(server.port, words(*range(125)), clock=clock)
        session = await device.connect()
        (request,) = device.plan(device.polled, frozenset())
        looks = []
        for second in range(600):
            before = len(server.requests)
            batch = await session.read(request)
            assert set(values(batch).values()) == {Quality.BAD_DEVICE_FAILURE}
            assert batch.refused == frozenset()
            if len(server.requests) - before > 1:
                looks.append(second)
            await clock.advance(1)
        await session.close()
    assert looks == [0, 30, 90, 210, 450]


@pytest.mark.parametrize("answer", [b"\x83\x04", b"\x03\x00"])
async def test_a_passing_failure_of_a_block_with_gaps_leaves_nothing_behind(answer: bytes) -> None:
    clock = FakeClock()
    async with scripted_server(
        lambda request, n: registers_reply(request) if n else reply(request, answer)
    ) as server:
        device = unit(server.port, words(0, 1, 10, 11), clock=clock)
        session = await device.connect()
        plan = device.plan(device.polled, frozenset())
        assert values(await session.read(plan[0])) == {0: 0, 1: 1, 2: 10, 3: 11}
        apart = device.plan(device.polled, frozenset())
        assert len(apart) == 2, "the gap is not read for now"
        await clock.advance(600)
        await session.read(apart[0])
        again = device.plan(device.polled, frozenset())
        assert [str(request) for request in again] == [str(request) for request in plan]
        before = len(server.requests)
        for _ in range(2):
            assert values(await session.read(again[0])) == {0: 0, 1: 1, 2: 10, 3: 11}
        await session.close()
        assert len(server.requests) - before == 2
    assert "refused_gaps" not in device._context.state


async def test_a_gap_that_is_refused_for_good_costs_one_request_when_it_is_tried_again() -> None:
    clock = FakeClock()
    with libmodbus_server(illegal=[(1, 3, 52, 53)]) as server:
        device = unit(server.port, words(*range(0, 120, 5)), clock=clock)
        session = await device.connect()
        (request,) = device.plan(device.polled, frozenset())
        await session.read(request)
        apart = device.plan(device.polled, frozenset())
        assert len(apart) == 2
        await clock.advance(86400)
        await session.read(apart[0])
        (request,) = device.plan(device.polled, frozenset())
        before = len(server.requests())
        batch = await session.read(request)
        assert (len(server.requests()) - before, batch.refused) == (3, frozenset())
        assert values(batch) == {index: 1000 + address for index, address in enumerate(range(0, 120, 5))}
        assert [str(one) for one in device.plan(device.polled, frozenset())] == [str(one) for one in apart]
        await session.close()


async def test_parts_of_a_block_that_failed_once_are_one_block_again_after_a_while() -> None:
    clock = FakeClock()
    async with scripted_server(
        lambda request, n: registers_reply(request) if n else reply(request, b"\x83\x04")
    ) as server:
        device = unit(server.port, words(*range(8)), clock=clock)
        session = await device.connect()
        (request,) = device.plan(device.polled, frozenset())
        counts = []
        for pause_s in (0, 1, 600, 1):
            await clock.advance(pause_s)
            assert values(await session.read(request)) == {i: i for i in range(8)}
            counts.append(len(server.requests))
        await session.close()
    assert counts == [3, 5, 6, 7]


async def test_a_gateway_that_loses_the_unit_during_the_search_voids_nothing_that_came_before() -> None:
    def script(request: bytes, n: int) -> bytes:
        if n == 2:
            return reply(request, b"\x83\x0b")
        return reply(request, b"\x83\x02") if touches(request, 7) else registers_reply(request)

    async with scripted_server(script) as server:
        device = unit(server.port, words(*range(8)))
        session = await device.connect()
        (request,) = device.plan(device.polled, frozenset())
        first = values(await session.read(request))
        assert first == {i: i if i < 4 else Quality.BAD_TIMEOUT for i in range(8)}
        batch = await session.read(request)
        assert batch.refused == {7}
        assert {i: v for i, v in values(batch).items() if i != 7} == {i: i for i in range(7)}
        await session.close()


async def test_a_gateway_without_the_unit_costs_the_exchange() -> None:
    with libmodbus_server(exceptions={1: 10}) as server:
        device = unit(server.port, words(*range(8)))
        session = await device.connect()
        with pytest.raises(ExchangeError, match="no path"):
            await read_all(device, session)
        assert len(server.requests()) == 1
        await session.close()


async def test_each_request_of_a_cycle_and_each_part_of_a_search_has_a_time_of_its_own() -> None:
    clock = FakeClock()

    def slow(request: bytes, _: int) -> bytes:
        clock.step(1.0)
        return reply(request, b"\x83\x02") if touches(request, 1) else registers_reply(request)

    async with scripted_server(slow) as server:
        config = {"id": "d", "driver": "modbus", "host": "127.0.0.1", "port": server.port, "read_gaps": False}
        points = [{"name": f"p{i}", "holding": i, "type": "uint16"} for i in (0, 1, 500)]
        device = ModbusUnit(FakeContext(clock=clock), ModbusDevice.model_validate(config | {"points": points}))
        session = await device.connect()
        began_ns, times_s = clock.now_ns(), dict[int, float]()
        for request in device.plan(device.polled, frozenset()):
            batch = await session.read(request)
            for column in batch.columns:
                for position, index in enumerate(column.points):
                    offset_ns = column.offsets_ns[position] if column.offsets_ns else 0
                    times_s[index] = (batch.time_ns + offset_ns - began_ns) / 1e9
        await session.close()
    assert times_s == {0: 2.0, 1: 3.0, 2: 4.0}


async def test_each_part_of_a_request_that_is_read_in_parts_has_a_time_of_its_own() -> None:
    clock = FakeClock()

    def at_most_two(request: bytes, _: int) -> bytes:
        clock.step(1.0)
        (count,) = struct.unpack_from(">H", request, 10)
        return registers_reply(request) if count <= 2 else reply(request, b"\x83\x03")

    async with scripted_server(at_most_two) as server:
        device = unit(server.port, words(*range(8)), clock=clock)
        session = await device.connect()
        (request,) = device.plan(device.polled, frozenset())
        await session.read(request)
        began_ns = clock.now_ns()
        batch = await session.read(request)
        await session.close()
    times_s = {
        index: (batch.time_ns + (column.offsets_ns[position] if column.offsets_ns else 0) - began_ns) / 1e9
        for column in batch.columns
        for position, index in enumerate(column.points)
    }
    assert times_s == {0: 1, 1: 1, 2: 2, 3: 2, 4: 3, 5: 3, 6: 4, 7: 4}
