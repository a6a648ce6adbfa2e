"""Many units on a serial line under the agent's supervisor: noise, dead units, namesakes."""

import asyncio
import random
import time
from itertools import pairwise

import pytest

from edge_agent.collect.line import Lines
from edge_agent.testing.eventually import eventually
from tests.servers.modbus_bus import libmodbus_line
from tests.servers.supervised_modbus import TEN, TWO, Supervised, running, supervised
from tests.servers.virtual_bus import Units, VirtualBus, garble
from tests.servers.virtual_time import VirtualClock, run_at_once

THIRTY = set(range(1, 31))


def on(bus: VirtualBus, path: str, lines: Lines) -> dict[str, dict[str, object]]:
    """Put a line into ``lines``; return the keys of the devices there."""
    lines.line(f"serial://{path}", bus.open, lambda transport: transport.close())
    return {"serial": {"port": path, "baud_rate": bus.baud_rate}}


async def noisy_line(
    units: Units, addresses: tuple[int, ...], duration_s: float
) -> tuple[VirtualBus, list[Supervised]]:
    bus, lines = VirtualBus(units), Lines()
    keys = on(bus, "/dev/line", lines)
    clock = VirtualClock()
    devices = [
        supervised(keys, unit, lines, addresses=addresses, interval_s=4.0, timeout_s=0.5, clock=clock)
        for unit in sorted(THIRTY)
    ]
    async with running(*(supervisor for _, supervisor in devices)):
        await asyncio.sleep(duration_s)
    return bus, [state for state, _ in devices]


def check_noisy_line(knows: tuple[int, ...], addresses: tuple[int, ...], duration_s: float) -> None:
    """One frame in a hundred lost, one garbled, both ways; some answers late. ``Supervised`` checks values."""
    units = Units(THIRTY, knows, late=0.002, lost=0.01, garbled=0.01)
    began_s = time.monotonic()
    bus, devices = run_at_once(noisy_line(units, addresses, duration_s))
    readings = sum(len(device.good) for device in devices)
    on_time = [device.on_time() for device in devices]
    print(
        f"{len(bus.requests)} requests, {bus.lost} frames lost, {bus.garbled} garbled, {bus.late} late, "
        f"{bus.collisions} collisions, {readings} readings, on time {min(on_time):.2%} at worst, "
        f"{sum(on_time) / 30:.2%} altogether, {time.monotonic() - began_s:.1f} s"
    )
    assert bus.lost > 0.015 * readings
    assert bus.garbled > 0.015 * readings
    assert [device.wrong for device in devices] == [[]] * 30
    assert sum(device.losses for device in devices) == 0
    assert bus.opened == 1
    assert min(on_time) >= 0.97


# Functions that the units know, and what is read: by which fence they show that nothing is owed.
FENCES = {"fewer": ((3,), TEN), "echo": ((3, 8), TWO), "other": ((3, 4), TWO)}


@pytest.mark.slow
@pytest.mark.parametrize("fence", FENCES)
def test_a_noisy_line_costs_no_device_and_no_value(fence: str) -> None:
    check_noisy_line(*FENCES[fence], 900)


@pytest.mark.chaos
@pytest.mark.parametrize("fence", FENCES)
def test_a_noisy_line_for_three_hours(fence: str) -> None:
    check_noisy_line(*FENCES[fence], 10_800)


async def gather(devices: list[Supervised], count: int) -> None:
    """Wait until each device has given so many answers."""
    await eventually(lambda: all(len(device.good) >= count for device in devices), within_s=40)


@pytest.mark.slow
async def test_a_noisy_line_to_units_in_c() -> None:
    """The same with libmodbus, which ignores function 8, over pseudo-terminals: here time is real."""
    chance = random.Random(11)
    fates = {"lost": 0, "garbled": 0}

    def damage(frame: bytes) -> bytes:
        fate = chance.random()
        if fate < 0.01:
            fates["lost"] += 1
            return b""
        if fate < 0.02:
            fates["garbled"] += 1
            return garble(frame, chance)
        return frame

    lines = Lines()
    with libmodbus_line(range(1, 21), damage) as line:
        keys = {"serial": {**line.keys["serial"], "baud_rate": 115_200}}
        devices = [supervised(keys, unit, lines, interval_s=0.75, timeout_s=0.2) for unit in range(1, 21)]
        async with running(*(supervisor for _, supervisor in devices)):
            states = [state for state, _ in devices]
            await gather(states, 20)
    assert min(fates.values()) >= 3
    assert [state.wrong for state in states] == [[]] * 20
    assert sum(state.losses for state in states) == 0
    assert sum(state.on_time() for state in states) / 20 >= 0.97


@pytest.mark.slow
async def test_thirty_units_in_c_on_one_line() -> None:
    lines = Lines()
    with libmodbus_line(range(1, 31)) as line:
        keys = {"serial": {**line.keys["serial"], "baud_rate": 115_200}}
        devices = [supervised(keys, unit, lines, interval_s=0.5, timeout_s=1.0) for unit in range(1, 31)]
        async with running(*(supervisor for _, supervisor in devices)):
            await gather([state for state, _ in devices], 8)
        on_the_wire = {unit for unit, *_ in line.server.requests()}
    assert on_the_wire == THIRTY
    assert not any(state.bad for state, _ in devices)


@pytest.mark.slow
async def test_peer_defect_08_a_dead_unit_costs_its_namesake_on_another_line_nothing() -> None:
    lines = Lines()
    with libmodbus_line([1, 2], silent=[1]) as line_a, libmodbus_line([1, 2]) as line_b:
        dead, dead_supervisor = supervised(line_a.keys, 1, lines, interval_s=0.1, timeout_s=0.1, name="a-1")
        neighbour, neighbour_supervisor = supervised(
            line_a.keys, 2, lines, interval_s=0.1, timeout_s=0.1, name="a-2"
        )
        namesake, namesake_supervisor = supervised(
            line_b.keys, 1, lines, interval_s=0.1, timeout_s=0.1, name="b-1"
        )
        async with running(dead_supervisor, neighbour_supervisor, namesake_supervisor):
            await eventually(lambda: dead.losses)
            counts = len(neighbour.good), len(namesake.good)
            await gather([neighbour], counts[0] + 10)
            await gather([namesake], counts[1] + 10)
            assert namesake.is_online
            assert neighbour.is_online
    assert (neighbour.bad, namesake.bad) == ([], [])
    assert dead.losses == 1
    assert dead.good == []


async def line_with_a_dead_unit(duration_s: float) -> tuple[VirtualBus, Supervised, list[Supervised]]:
    """Thirty units, of which one dies after a minute and comes back after another ten."""
    bus, lines, clock = VirtualBus(Units(set(THIRTY))), Lines(), VirtualClock()
    keys = on(bus, "/dev/line", lines)
    devices = [
        supervised(keys, unit, lines, interval_s=4.0, timeout_s=0.5, clock=clock) for unit in sorted(THIRTY)
    ]
    async with running(*(supervisor for _, supervisor in devices)):
        await asyncio.sleep(60)
        bus.units.there.discard(7)
        await asyncio.sleep(600)
        bus.units.there.add(7)
        await asyncio.sleep(duration_s - 660)
    states = [state for state, _ in devices]
    return bus, states.pop(6), states


def test_a_dead_unit_delays_its_neighbours_by_one_time_out_in_each_pause_and_comes_back() -> None:
    bus, dead, neighbours = run_at_once(line_with_a_dead_unit(780))
    attempts = [at_s for at_s, frame in bus.requests if frame[0] == 7 and 60 < at_s < 660]
    rounds = [at_s for before, at_s in pairwise([0.0, *attempts]) if at_s - before > 0.6]
    # 3 failures that make it lost, 6 pauses that grow from 1 s to 60 s, and then one every 60 s.
    assert len(rounds) <= 3 + 6 + 10
    for neighbour in neighbours:
        assert neighbour.losses == 0
        assert neighbour.bad == []
        assert neighbour.on_time() == 1.0
        gaps = [after - before for before, after in pairwise(neighbour.first_s())]
        assert max(gaps) <= 4.0 + 0.5 + 60 * 0.05, "more than one time-out late"
    assert dead.losses == 1
    assert dead.is_online
    assert max(dead.first_s()) > 700
