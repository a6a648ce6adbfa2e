"""What one request costs: our transport and session against pymodbus's client, side by side in one run.

``pytest -s tests/bench/modbus_cost.py`` prints the figures of docs/adr/0002-modbus-transport.md.
"""

import asyncio
import statistics
import struct
import sys
import time
from collections.abc import Awaitable, Callable

import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.client.mixin import ModbusClientMixin

from edge_agent_modbus.decode import Source, ValueType
from edge_agent_modbus.pdu import Table, read_pdu
from edge_agent_modbus.plan import Limits, plan_reads
from tests.servers.modbus_collected import Collected
from tests.servers.modbus_device import config_of, open_tcp, unit, words
from tests.servers.modbus_pipelined import long_way
from tests.servers.modbus_server import libmodbus_server

ROUNDS, REQUESTS = 7, 300


async def cost_us(request: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Return time on the wall and on the processor of one request, in microseconds."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    for _ in range(REQUESTS):
        await request()
    return (time.perf_counter() - wall_s) * 1e6 / REQUESTS, (time.process_time() - cpu_s) * 1e6 / REQUESTS


@pytest.mark.slow
async def test_a_request_costs_less_than_half_of_what_it_costs_with_pymodbus() -> None:
    points = [{"holding": address, "type": "float32"} for address in range(0, 124, 2)]
    measured: dict[str, list[tuple[float, float]]] = {}
    with libmodbus_server() as server:
        foreign = AsyncModbusTcpClient("127.0.0.1", port=server.port, reconnect_delay=0, retries=0)
        await foreign.connect()
        transport = await open_tcp("127.0.0.1", server.port)
        device = unit(server.port, points)
        session = await device.connect()
        (request,) = device.plan(device.polled, frozenset())
        pdu = read_pdu(Table.HOLDING, 0, 124)

        async def decoded_by_pymodbus() -> object:
            answer = await foreign.read_holding_registers(0, count=124, device_id=1)
            return foreign.convert_from_registers(answer.registers, foreign.DATATYPE.FLOAT32)

        ways: dict[str, Callable[[], Awaitable[object]]] = {
            "pymodbus, registers": lambda: foreign.read_holding_registers(0, count=124, device_id=1),
            "pymodbus, 62 floats": decoded_by_pymodbus,
            "ours, payload": lambda: transport.exchange(1, pdu),
            "ours, batch of 62 floats": lambda: session.read(request),
        }
        for _ in range(ROUNDS):
            for name, way in ways.items():
                measured.setdefault(name, []).append(await cost_us(way))
        foreign.close()
        transport.close()
        await session.close()
    cpu_us = {name: statistics.median(cpu for _, cpu in rounds) for name, rounds in measured.items()}
    for name, rounds in measured.items():
        wall_us = statistics.median(wall for wall, _ in rounds)
        sys.stdout.write(f"{name:26} {wall_us:7.0f} µs, {cpu_us[name]:7.0f} µs CPU a request\n")
    assert cpu_us["ours, payload"] < cpu_us["pymodbus, registers"] / 2
    assert cpu_us["ours, batch of 62 floats"] < cpu_us["pymodbus, 62 floats"] / 2


@pytest.mark.slow
async def test_four_requests_at_once_over_a_long_way_take_less_than_half_of_the_time() -> None:
    round_trip_s, apart = 0.01, range(0, 16 * 200, 200)
    cycle_ms: dict[int, float] = {}
    with libmodbus_server() as server:
        async with long_way(server.port, round_trip_s) as port:
            for at_once in (1, 4):
                wire = {"host": "127.0.0.1", "port": port, "max_in_flight": at_once}
                agent = Collected(config_of(wire, words(*apart), interval="10ms"))
                async with agent.running():
                    await agent.has_kept(20)
                    begin_s, before = time.perf_counter(), len(agent.kept)
                    await asyncio.sleep(2)
                    batches = len(agent.kept) - before
                    cycle_ms[at_once] = (time.perf_counter() - begin_s) * 1e3 / batches * len(apart)
    for at_once, milliseconds in cycle_ms.items():
        sys.stdout.write(
            f"16 requests, round trip {round_trip_s * 1e3:g} ms, {at_once} at once: {milliseconds:.0f} ms\n"
        )
    assert cycle_ms[4] < cycle_ms[1] / 2


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_decoding_a_block_costs_less_than_a_fifth_of_what_it_costs_with_pymodbus(scale: float) -> None:
    sources = [Source(i, Table.HOLDING, 2 * i, ValueType.FLOAT32, scale=scale) for i in range(62)]
    (request,) = plan_reads(1, sources, set(), Limits())
    payload = struct.pack(">62f", *range(62))
    registers = list(struct.unpack(">124H", payload))
    pymodbus_type = ModbusClientMixin.DATATYPE.FLOAT32

    def best_us(call: Callable[[], object]) -> float:
        rounds = []
        for _ in range(20):
            begin_s = time.perf_counter()
            for _ in range(100):
                call()
            rounds.append((time.perf_counter() - begin_s) * 1e6 / 100)
        return min(rounds)

    ours_us = best_us(lambda: request.decode(payload))
    theirs_us = best_us(lambda: ModbusClientMixin.convert_from_registers(registers, pymodbus_type))
    sys.stdout.write(f"62 float32, scale {scale}: {ours_us:.1f} µs, pymodbus (unscaled) {theirs_us:.1f} µs\n")
    assert ours_us < theirs_us / 5
