"""Several units behind one TCP gateway, a device in C, under the agent's supervisor; counted on the wire."""

import asyncio
from itertools import pairwise

import pytest

from edge_agent.collect.line import Lines
from edge_agent.testing.eventually import eventually
from tests.servers.modbus_server import LibmodbusServer, libmodbus_server
from tests.servers.supervised_modbus import Supervised, running, supervised

pytestmark = pytest.mark.slow

INTERVAL_S, TIMEOUT_S, PAUSE_S = 0.2, 0.5, 1.0


def at(server: LibmodbusServer) -> dict[str, object]:
    return {"host": "127.0.0.1", "port": server.port}


def asked_of(server: LibmodbusServer, unit: int) -> list[tuple[int, int, int, int]]:
    return [request for request in server.requests() if request[0] == unit]


@pytest.mark.parametrize("devices", [1, 3])
async def test_a_dead_unit_delays_its_neighbours_by_one_time_out_in_each_pause(devices: int) -> None:
    """However many devices are configured for it."""
    lines = Lines()
    with libmodbus_server(silent=[3]) as gateway, libmodbus_server() as other_gateway:

        def on(server: LibmodbusServer, unit: int, name: str) -> tuple[Supervised, object]:
            return supervised(
                at(server),
                unit,
                lines,
                interval_s=INTERVAL_S,
                timeout_s=TIMEOUT_S,
                retry_max_s=PAUSE_S,
                name=name,
            )

        dead = [on(gateway, 3, f"dead-{number}") for number in range(devices)]
        well = [on(gateway, unit, f"well-{unit}") for unit in (1, 2, 4)]
        namesake = on(other_gateway, 3, "namesake")
        async with running(*(supervisor for _, supervisor in (*dead, *well, namesake))):  # type: ignore[arg-type]
            await eventually(lambda: all(state.losses for state, _ in dead), within_s=20)
            began_s, tries = asyncio.get_running_loop().time(), len(asked_of(gateway, 3))
            begun, ahead = len(gateway.requests()), len(namesake[0].good)
            counts = [len(state.good) for state, _ in well]
            await eventually(
                lambda: all(len(state.good) >= count + 40 for (state, _), count in zip(well, counts, strict=True)),
                within_s=40,
            )
            took_s = asyncio.get_running_loop().time() - began_s
            asked = [unit for unit, *_ in gateway.requests()[begun:]]
            beside = len(namesake[0].good) - ahead
        on_the_wire = len(asked_of(gateway, 3)) - tries
    assert tries <= 3 + devices - 1, "more than what was under way when it was found silent"
    assert 2 <= on_the_wire <= took_s / PAUSE_S + 1, "more than one try in each pause"
    for (state, _), count in zip(well, counts, strict=True):
        own = [at for at, unit in enumerate(asked) if unit == state.unit]
        assert all(asked[before:after].count(3) <= 1 for before, after in pairwise(own)), "two time-outs late"
        assert (state.losses, state.wrong, state.bad) == (0, [], [])
        assert beside > (len(state.good) - count) / 2, "the namesake is asked as seldom as the dead one"
    assert namesake[0].bad == []


async def test_one_bad_register_in_125_costs_2_log2_requests_once_and_no_reading() -> None:
    lines = Lines()
    with libmodbus_server(illegal=[(1, 3, 61, 61)]) as server:
        state, supervisor = supervised(at(server), 1, lines, addresses=range(125), interval_s=0.05, timeout_s=3.0)
        async with running(supervisor):
            await eventually(lambda: len(state.good) + len(state.bad) > 20, within_s=20)
        requests = server.requests()
    plan = [(1, 3, 0, 61), (1, 3, 62, 63)]
    searched = next(number for number in range(len(requests)) if requests[number:][:2] == plan)
    assert requests[0] == (1, 3, 0, 125)
    assert searched <= 1 + 2 * 7
    rest = requests[searched:]
    assert rest == (plan * len(rest))[: len(rest)], "asked for anything but the plan"
    first = state.bad[0]
    good = {
        index: column.values[at]
        for column in first.columns
        if column.values
        for at, index in enumerate(column.points)
    }
    assert {index: value for index, value in good.items() if index != 61} == {
        index: 1000 + index for index in range(125) if index != 61
    }, "the first cycle has all the others"


async def test_the_requests_on_the_wire_are_the_printed_plan() -> None:
    lines = Lines()
    with libmodbus_server() as server:
        devices = [
            supervised(at(server), unit, lines, addresses=(*range(130), 200, 300), interval_s=0.05, timeout_s=3.0)
            for unit in (1, 2)
        ]
        async with running(*(supervisor for _, supervisor in devices)):
            await eventually(lambda: all(len(state.good) > 20 for state, _ in devices), within_s=20)
            printed = [[str(it["request"]) for it in supervisor.known()["plan"]] for _, supervisor in devices]  # type: ignore[attr-defined]
        for unit, lines_of_plan in zip((1, 2), printed, strict=True):
            asked = asked_of(server, unit)
            plan = [
                f"unit {unit} FC{function} holding {first}..{first + count - 1}"
                for _, function, first, count in asked[: len(lines_of_plan)]
            ]
            assert [text.partition(" (")[0] for text in lines_of_plan] == plan
            assert asked == (asked[: len(plan)] * len(asked))[: len(asked)]
