"""Defects that other gateways have, as tests; what is a matter of data is a folder in tests/cases/modbus."""

import asyncio
import struct

import pytest

from edge_agent.collect.line import Lines
from edge_agent.errors import DeviceUnavailableError, ExchangeError
from edge_agent.model import Quality
from edge_agent_modbus.pdu import read_pdu
from tests.servers.modbus_device import read_all, read_once, transport_of, unit, values, words
from tests.servers.modbus_server import libmodbus_server, registers_reply, reply, scripted_server


async def test_peer_defect_08_a_dead_unit_costs_neither_its_namesake_nor_its_neighbours() -> None:
    lines = Lines()
    with libmodbus_server(silent=[1]) as gateway, libmodbus_server() as other_gateway:
        dead, neighbour = unit(gateway.port, words(5), lines, unit=1), unit(gateway.port, words(5), lines, unit=2)
        namesake = unit(other_gateway.port, words(5), lines, unit=1)
        sessions = [await device.connect() for device in (dead, neighbour, namesake)]
        sockets = [transport_of(session) for session in sessions]
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await read_all(dead, sessions[0])
            assert await read_all(neighbour, sessions[1]) == {0: 2005}
            assert await read_all(namesake, sessions[2]) == {0: 1005}
        await sessions[0].close()
        assert await read_all(neighbour, sessions[1]) == {0: 2005}
        assert [transport_of(session) for session in sessions] == sockets
        assert [socket.lost for socket in sockets] == [None, None, None]
        for session in sessions[1:]:
            await session.close()


async def test_peer_defect_11_one_refused_register_costs_none_of_the_other_124() -> None:
    for refused in (0, 61, 124):
        with libmodbus_server(illegal=[(1, 3, refused, refused)]) as server:
            device = unit(server.port, words(*range(125)))
            session = await device.connect()
            (request,) = device.plan(device.polled, frozenset())
            batch = await session.read(request)
            assert batch.refused == {refused}
            expected = {i: 1000 + i for i in range(125)} | {refused: Quality.BAD_NODE_ID_UNKNOWN}
            assert values(batch) == expected
            assert len(server.requests()) <= 1 + 2 * 7, "more than 2·log2(125) requests to find it"

            again = device.plan(device.polled, batch.refused)
            before = len(server.requests())
            assert values(*[await session.read(request) for request in again]) == expected
            assert len(server.requests()) - before == len(again) <= 3, "searched again for what is known"
            await session.close()


async def test_peer_defect_12_an_error_of_one_unit_costs_no_other_unit_its_batch() -> None:
    lines = Lines()
    with libmodbus_server(exceptions={2: 4, 3: 11}) as server:
        devices = {number: unit(server.port, words(0, 1), lines, unit=number) for number in (1, 2, 3, 4)}
        sessions = {number: await device.connect() for number, device in devices.items()}
        assert await read_all(devices[1], sessions[1]) == {0: 1000, 1: 1001}
        assert set((await read_all(devices[2], sessions[2])).values()) == {Quality.BAD_DEVICE_FAILURE}
        with pytest.raises(ExchangeError):
            await read_all(devices[3], sessions[3])
        assert await read_all(devices[4], sessions[4]) == {0: 4000, 1: 4001}
        for session in sessions.values():
            await session.close()


async def test_peer_defect_15_many_failures_do_not_keep_the_driver_from_coming_back(unused_tcp_port: int) -> None:
    lines = Lines()
    device = unit(unused_tcp_port, words(3), lines)
    for _ in range(50):
        with pytest.raises(DeviceUnavailableError, match="nothing listens there; check port:"):
            await device.connect()
    async with scripted_server(lambda request, _: registers_reply(request), port=unused_tcp_port):
        assert await read_once(device) == {0: 3}


@pytest.mark.parametrize("read_gaps", [True, False])
async def test_peer_defect_18_the_requests_on_the_wire_are_the_printed_plan(*, read_gaps: bool) -> None:
    points = [*words(*range(200), 300, 301, 305), {"coil": 9}, {"coil": 10}, {"input": 0, "type": "LREAL"}]
    with libmodbus_server() as server:
        device = unit(server.port, points, unit=9, read_gaps=read_gaps)
        plan = device.plan(device.polled, frozenset())
        await read_once(device)
        on_the_wire = server.requests()
    assert [read_pdu(*request[1:]) for request in on_the_wire] == [request.pdu for request in plan]  # type: ignore[arg-type]
    gap = ["unit 9 FC3 holding 300..305 (6 registers, 3 of them in gaps): 3 points"]
    no_gap = [
        "unit 9 FC3 holding 300..301 (2 registers): 2 points",
        "unit 9 FC3 holding 305..305 (1 register): 1 point",
    ]
    assert [str(request) for request in plan] == [
        "unit 9 FC1 coil 9..10 (2 coils): 2 points",
        "unit 9 FC3 holding 0..124 (125 registers): 125 points",
        "unit 9 FC3 holding 125..199 (75 registers): 75 points",
        *(gap if read_gaps else no_gap),
        "unit 9 FC4 input 0..3 (4 registers): 1 point",
    ]


async def test_peer_defect_18_the_bytes_on_the_wire_are_the_printed_ones() -> None:
    answers: list[bytes] = []

    def serve(request: bytes, _: int) -> bytes:
        function, _, count = struct.unpack_from(">BHH", request, 7)
        size_bytes = (count + 7) // 8 if function < 3 else 2 * count
        answers.append(reply(request, bytes([function, size_bytes]) + bytes(size_bytes)))
        return answers[-1]

    points = [
        *words(*range(130), 140),
        {"coil": 1},
        {"discrete": 3},
        {"discrete": 12},
        {"input": 9, "type": "LINT"},
    ]
    async with scripted_server(serve) as server:
        device = unit(server.port, points)
        estimates = [device.estimate(request) for request in device.plan(device.polled, frozenset())]
        await read_once(device)
    assert [estimate.sent_bytes for estimate in estimates] == [len(request) for request in server.requests]
    assert [estimate.received_bytes for estimate in estimates] == [len(answer) for answer in answers]
    assert {estimate.line for estimate in estimates} == {f"tcp://127.0.0.1:{server.port}"}


async def test_a_gap_that_the_device_refuses_costs_no_reading_and_few_requests() -> None:
    addresses = range(0, 120, 5)
    with libmodbus_server(illegal=[(1, 3, 52, 53)]) as server:
        device = unit(server.port, words(*addresses))
        session = await device.connect()
        (request,) = device.plan(device.polled, frozenset())
        asked = []
        for _ in range(3):
            batch = await session.read(request)
            assert values(batch) == {index: 1000 + address for index, address in enumerate(addresses)}
            assert batch.refused == frozenset(), "no point is at fault"
            asked.append(len(server.requests()))
        await session.close()
        plan = [str(request) for request in device.plan(device.polled, frozenset())]
    assert plan == [
        "unit 1 FC3 holding 0..50 (51 registers, 40 of them in gaps): 11 points",
        "unit 1 FC3 holding 55..115 (61 registers, 48 of them in gaps): 13 points",
    ], "the next session searches again"
    assert asked[0] <= 1 + 2 * 5, "more than 2·log2(24) requests to find it"
    assert asked[2] - asked[1] == asked[1] - asked[0] <= 6, "searched again for what is known"
