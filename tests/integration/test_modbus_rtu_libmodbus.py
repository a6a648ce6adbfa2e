"""RTU units in C on one line, at a pseudo-terminal and behind a gateway."""

import asyncio
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol

import pytest

from edge_agent.collect.line import Lines
from edge_agent.errors import ExchangeError
from edge_agent.model import Quality
from edge_agent.testing.conformance import check_device
from edge_agent.writing import WriteOutcome, WriteResult
from edge_agent_modbus.pdu import read_pdu
from edge_agent_modbus.writer import ModbusWriter
from tests.servers.modbus_bus import LibmodbusLine, libmodbus_line
from tests.servers.modbus_device import config_of, read_all, read_once, unit_on, values, words


class Served(Protocol):
    def __call__(self, units: list[int], **options: Any) -> AbstractContextManager[LibmodbusLine]: ...


@pytest.fixture(params=[False, True], ids=["rtu", "rtu_over_tcp"])
def served(request: pytest.FixtureRequest) -> Served:
    return partial(libmodbus_line, over_tcp=request.param)


async def test_all_four_tables_of_several_units_give_their_own_values(served: Served) -> None:
    points: list[dict[str, Any]] = [
        {"holding": 7, "type": "uint16"},
        {"input": 7, "type": "uint16"},
        {"coil": 7},
        {"discrete": 7},
    ]
    lines = Lines()
    with served([1, 2, 17]) as line:
        devices = {number: unit_on(line.keys, points, lines, unit=number) for number in (1, 2, 17)}
        sessions = {number: await device.connect() for number, device in devices.items()}
        got = {number: await read_all(devices[number], session) for number, session in sessions.items()}
        for session in sessions.values():
            await session.close()
    assert got == {
        1: {0: 1007, 1: 31007, 2: 1, 3: 0},
        2: {0: 2007, 1: 32007, 2: 0, 3: 1},
        17: {0: 17007, 1: 47007, 2: 1, 3: 0},
    }


async def test_conforms_to_the_contract(served: Served) -> None:
    points = [*words(*range(0, 300, 2)), {"coil": 3}, {"input": 9, "type": "REAL"}]
    with served([1]) as line:
        await check_device(unit_on(line.keys, points), point_count=len(points))


async def test_the_longest_frames(served: Served) -> None:
    points: list[dict[str, Any]] = [*words(*range(125)), *({"coil": address} for address in range(2000))]
    with served([3]) as line:
        device = unit_on(line.keys, points, unit=3)
        got = await read_once(device)
        on_the_wire = line.server.requests()
    assert on_the_wire == [(3, 1, 0, 2000), (3, 3, 0, 125)]
    assert got == {
        **{index: 3000 + index for index in range(125)},
        **{125 + address: (address // 3 + 3) & 1 for address in range(2000)},
    }


async def test_requests_on_the_wire_are_the_printed_plan(served: Served) -> None:
    points = [*words(*range(200), 300, 301, 305), {"coil": 9}, {"discrete": 10}, {"input": 0, "type": "LREAL"}]
    with served([9]) as line:
        device = unit_on(line.keys, points, unit=9)
        plan = device.plan(device.polled, frozenset())
        await read_once(device)
        on_the_wire = line.server.requests()
    assert [read_pdu(*request[1:]) for request in on_the_wire] == [request.pdu for request in plan]  # type: ignore[arg-type]


async def test_peer_defect_11_one_refused_register_costs_none_of_the_other_124(served: Served) -> None:
    with served([1], illegal=[(1, 3, 61, 61)]) as line:
        device = unit_on(line.keys, words(*range(125)))
        session = await device.connect()
        (request,) = device.plan(device.polled, frozenset())
        batch = await session.read(request)
        await session.close()
        assert batch.refused == {61}
        assert values(batch) == {i: 1000 + i for i in range(125)} | {61: Quality.BAD_NODE_ID_UNKNOWN}
        assert len(line.server.requests()) <= 1 + 2 * 7, "more than 2·log2(125) requests to find it"


async def test_peer_defect_12_an_error_of_one_unit_costs_no_other_unit_its_batch(served: Served) -> None:
    lines = Lines()
    with served([1, 2, 3, 4], exceptions={2: 4, 3: 11}) as line:
        devices = {number: unit_on(line.keys, words(0, 1), lines, unit=number) for number in (1, 2, 3, 4)}
        sessions = {number: await device.connect() for number, device in devices.items()}
        assert await read_all(devices[1], sessions[1]) == {0: 1000, 1: 1001}
        assert set((await read_all(devices[2], sessions[2])).values()) == {Quality.BAD_DEVICE_FAILURE}
        with pytest.raises(ExchangeError, match="got no answer from it"):
            await read_all(devices[3], sessions[3])
        assert await read_all(devices[4], sessions[4]) == {0: 4000, 1: 4001}
        for session in sessions.values():
            await session.close()


@pytest.mark.parametrize(
    ("point", "value", "function"),
    [
        ({"coil": 7}, False, 5),
        ({"holding": 0, "type": "uint16"}, 54321, 6),
        ({"holding": 1, "type": "float32", "byte_order": "CDAB"}, -1.5, 16),
        ({"holding": 3, "bit": 5}, True, 22),
    ],
)
async def test_what_is_written_is_what_is_read(
    served: Served, point: dict[str, Any], value: Any, function: int
) -> None:
    with served([5]) as line:
        device = unit_on(line.keys, [point], unit=5)
        session = await device.connect()
        writer = ModbusWriter(config_of(line.keys, [point], unit=5), session)
        assert await writer.write(0, value) == WriteResult(WriteOutcome.DONE)
        assert await read_all(device, session) == {0: value}
        await session.close()
        assert next(f for _, f, _, _ in line.server.requests()) == function


async def test_a_silent_unit_costs_its_neighbours_its_time_out_and_nothing_else(served: Served) -> None:
    lines = Lines()
    with served([1, 2], silent=[1]) as line:
        dead, neighbour = (unit_on(line.keys, words(5), lines, unit=number) for number in (1, 2))
        sessions = [await device.connect() for device in (dead, neighbour)]
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await read_all(dead, sessions[0])
            assert await read_all(neighbour, sessions[1]) == {0: 2005}
        for session in sessions:
            await session.close()
