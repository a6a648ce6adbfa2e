"""Several requests under way on one connection: what devices make of it, and no reading is ever another's."""

import asyncio
from statistics import median
from typing import Any

import pytest

from edge_agent.collect.line import Lines
from edge_agent.errors import ExchangeError
from edge_agent.testing.eventually import eventually
from edge_agent_modbus.dialer import Dialer, Route
from edge_agent_modbus.pdu import Table, read_pdu
from edge_agent_modbus.probe.way import exchange
from edge_agent_modbus.tcp import TcpTransport
from edge_agent_modbus.transport import Transport
from edge_agent_modbus.window import KEY, Window
from tests.servers.modbus_collected import Collected
from tests.servers.modbus_device import config_of, read_all, unit_on, values, words
from tests.servers.modbus_pipelined import (
    Answers,
    backwards,
    first_only,
    honest,
    pipelined,
    resets,
    with_the_last_header,
)
from tests.servers.modbus_server import libmodbus_server

APART = range(0, 1000, 200)
"""Addresses of five registers, each a request of its own."""


def collected(port: int, **keys: Any) -> Collected:
    wire = {"host": "127.0.0.1", "port": port, "max_in_flight": 4}
    short = {"interval": "50ms", "timeout": "400ms", "connect_timeout": "1s"}
    return Collected(config_of(wire, words(*APART), **short, **keys))


async def window_on(port: int, most: int = 4) -> tuple[TcpTransport, Window]:
    window = Window(most, {})
    return await Dialer(Route(["127.0.0.1"], port)).connect(lambda peer: TcpTransport(peer, window)), window


async def register(transport: TcpTransport, address: int, unit: int = 1) -> int:
    answer = await transport.exchange(unit, read_pdu(Table.HOLDING, address, 1))
    return int.from_bytes(answer[2:])


async def test_libmodbus_answers_sixteen_at_once() -> None:
    with libmodbus_server() as server:
        device = unit_on({"host": "127.0.0.1", "port": server.port, "max_in_flight": 16}, words(*APART))
        session = await device.connect()
        plan = device.plan(device.polled, frozenset())
        await session.read(plan[0])
        async with asyncio.TaskGroup() as group:
            reads = [group.create_task(session.read(request)) for request in plan]
        assert values(*(read.result() for read in reads)) == {n: 1000 + a for n, a in enumerate(APART)}
        await session.close()


@pytest.mark.parametrize("answers", [honest, backwards])
async def test_a_device_that_takes_it_is_asked_that_way(answers: Answers) -> None:
    async with pipelined(answers) as device:
        agent = collected(device.port)
        async with agent.running():
            await eventually(lambda: len(agent.good()) > 50)
        assert device.most == 4
        assert device.connections == 1
        assert set(agent.good()) == set(enumerate(APART))
        assert KEY not in agent.context.state


@pytest.mark.parametrize("answers", [resets, with_the_last_header, first_only])
async def test_a_device_that_does_not_take_it_is_asked_one_at_a_time_and_gives_no_wrong_value(
    answers: Answers, caplog: pytest.LogCaptureFixture
) -> None:
    async with pipelined(answers) as device:
        agent = collected(device.port)
        async with agent.running():
            await eventually(lambda: KEY in agent.context.state, within_s=10)
            agent.kept.clear()
            await eventually(lambda: len(agent.good()) > 20, within_s=10)
            device.most = 0
            agent.kept.clear()
            await eventually(lambda: len(agent.good()) > 20, within_s=10)
            assert device.most == 1
        assert set(agent.good()) == set(enumerate(APART))
        (record,) = [record for record in caplog.records if record.message == "fewer exchanges at once"]
        assert record.__dict__["reason"].startswith("1, because with more ")


async def test_no_wrong_value_before_a_device_that_mixes_up_is_found_out() -> None:
    async with pipelined(with_the_last_header) as device:
        transport, window = await window_on(device.port)
        results: list[int | ExchangeError] = []

        async def ask(address: int) -> None:
            try:
                async with asyncio.timeout(10):
                    results.append(await register(transport, address))
            except ExchangeError as exc:
                results.append(exc)

        async with asyncio.TaskGroup() as group:
            for address in (1, 2, 3):
                group.create_task(ask(address))
        assert [type(result) for result in results] == [ExchangeError] * 3
        assert window.given_up == "1, because with more two answers came for one request"
        assert await register(transport, 4) == 4
        transport.close()


async def test_a_dead_unit_does_not_make_the_others_wait_for_their_turn_for_good() -> None:
    with libmodbus_server(silent=[2]) as server:
        transport, window = await window_on(server.port)

        async def dead() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await register(transport, 0, unit=2)

        async with asyncio.TaskGroup() as group:
            group.create_task(dead())
            assert await register(transport, 5) == 1005
        assert window.places == 1, "it might not take company"
        await dead()
        assert (window.places, window.given_up) == (4, "")
        transport.close()


async def test_a_probe_that_waits_in_vain_says_nothing_about_company() -> None:
    with libmodbus_server(silent=[2]) as server:
        lent, window = await window_on(server.port)

        async def opened() -> Transport:
            return lent

        line = Lines().line("lent", opened, lambda transport: transport.close())
        line.limit(window.places)
        await line.attach()

        async def in_vain() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await exchange(line, {"unit": 2, "pdu": read_pdu(Table.HOLDING, 0, 1).hex()})

        async with asyncio.TaskGroup() as group:
            group.create_task(in_vain())
            assert await register(lent, 5) == 1005
        assert window.places == 4, "nobody asks that unit again, alone"
        line.detach(lent)


async def test_an_answer_that_overtakes_comes_even_if_the_older_one_never_does() -> None:
    with libmodbus_server(silent=[2]) as server:
        transport, _ = await window_on(server.port)
        async with asyncio.TaskGroup() as group:
            dead = group.create_task(register(transport, 0, unit=2))
            async with asyncio.timeout(5):
                assert await register(transport, 5) == 1005
            assert not dead.done()
            dead.cancel()
        transport.close()


async def test_units_behind_one_gateway_are_asked_at_once() -> None:
    lines = Lines()
    async with pipelined(honest) as device:
        wire = {"host": "127.0.0.1", "port": device.port, "max_in_flight": 3}
        units = [unit_on(wire, words(7), lines, unit=number) for number in (1, 2, 3)]
        sessions = [await each.connect() for each in units]
        for _ in range(2):  # the line learns of its places with the first exchange
            async with asyncio.TaskGroup() as group:
                reads = [group.create_task(read_all(*each)) for each in zip(units, sessions, strict=True)]
            assert [read.result() for read in reads] == [{0: 7}] * 3
        for session in sessions:
            await session.close()
        assert (device.most, device.connections) == (3, 1)


async def test_a_device_that_waits_for_acknowledgements_is_not_kept_waiting() -> None:
    """libmodbus leaves Nagle's algorithm on: with acknowledgements that take their time, each four take 40 ms."""
    with libmodbus_server() as server:
        transport, _ = await window_on(server.port)
        loop, took_s = asyncio.get_running_loop(), []
        for _ in range(100):
            began_s = loop.time()
            async with asyncio.TaskGroup() as group:
                for address in range(4):
                    group.create_task(register(transport, address))
            took_s.append(loop.time() - began_s)
        transport.close()
    assert median(took_s) < 0.04, "the kernel's delay is in most of them"
