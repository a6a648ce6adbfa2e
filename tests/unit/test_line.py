import asyncio
import logging

import pytest

from edge_agent.collect.deadline import Deadline
from edge_agent.collect.line import Lines
from edge_agent.driver import Line


class Transport:
    def __init__(self) -> None:
        self.closed = 0

    def is_open(self) -> bool:
        return self.closed == 0


def close(transport: Transport) -> None:
    transport.closed += 1


def make(lines: Lines, opened: list[Transport]) -> Line[Transport]:
    async def open_transport() -> Transport:
        opened.append(Transport())
        return opened[-1]

    return lines.line("tcp://plc:502", open_transport, close)


async def test_one_transport_for_all_and_closed_by_the_last_one() -> None:
    lines, opened = Lines(), list[Transport]()
    first, second = make(lines, opened), make(lines, opened)
    assert first is second
    a = await first.attach()
    b = await second.attach()
    assert a is b
    first.detach(a)
    assert a.is_open()
    second.detach(b)
    assert not a.is_open()
    assert len(opened) == 1


async def test_a_dropped_transport_is_replaced_and_its_late_users_do_no_harm() -> None:
    lines, opened = Lines(), list[Transport]()
    line = make(lines, opened)
    old = await line.attach()
    line.drop(old)
    new = await line.attach()
    line.detach(old)
    line.drop(old)
    assert new.is_open()
    assert not old.is_open()


async def test_turns_are_first_come_first_served_and_do_not_overlap() -> None:
    line = make(Lines(), [])
    order: list[str] = []

    async def exchange(name: str) -> None:
        async with line.turn():
            order.append(f"{name} begins")
            await asyncio.sleep(0)
            order.append(f"{name} ends")

    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(exchange(name))
    assert order == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]


async def test_waiting_for_a_turn_does_not_use_up_the_time_of_an_exchange() -> None:
    line = make(Lines(), [])
    results: list[str] = []

    async def silent() -> None:
        with pytest.raises(TimeoutError):
            async with Deadline(0.2), line.turn():
                await asyncio.Event().wait()
        results.append("silent")

    async def neighbour() -> None:
        async with Deadline(0.1), line.turn():
            results.append("neighbour")

    async with asyncio.TaskGroup() as group:
        group.create_task(silent())
        await asyncio.sleep(0)
        group.create_task(neighbour())
    assert results == ["silent", "neighbour"]


async def test_a_cancelled_wait_gives_the_place_up() -> None:
    line = make(Lines(), [])
    async with line.turn():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), line.turn():
                pass
    async with asyncio.timeout(10), line.turn():
        pass


async def test_waiting_behind_one_who_was_just_given_the_turn_does_not_count_either() -> None:
    line = make(Lines(), [])
    results: list[str] = []

    async def silent() -> None:
        with pytest.raises(TimeoutError):
            async with Deadline(0.2), line.turn():
                await asyncio.Event().wait()
        results.append("silent")

    async def eager() -> None:
        async with Deadline(5), line.turn():
            await asyncio.sleep(0)
        async with Deadline(0.1), line.turn():  # at once: the turn is free, but somebody else's
            results.append("eager")

    async with asyncio.TaskGroup() as group:
        group.create_task(eager())
        group.create_task(silent())
    assert results == ["silent", "eager"]


async def most_at_once(line: Line[Transport], count: int) -> int:
    """Return how many of ``count`` turns there were at once at most."""
    now = most = 0

    async def exchange() -> None:
        nonlocal now, most
        async with line.turn():
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(exchange())
    return most


async def test_as_many_at_once_as_the_driver_says(caplog: pytest.LogCaptureFixture) -> None:
    line = make(Lines(), [])
    assert await most_at_once(line, 10) == 1
    line.limit(4)
    assert await most_at_once(line, 10) == 4
    assert not caplog.records
    line.limit(1, "it mixes its answers up")
    line.limit(1, "it mixes its answers up")
    assert await most_at_once(line, 10) == 1
    (record,) = caplog.records
    assert (record.levelno, record.__dict__["line"]) == (logging.WARNING, "tcp://plc:502")
    assert record.__dict__["reason"] == "it mixes its answers up"


async def test_those_who_wait_begin_at_once_when_there_are_more_places() -> None:
    line = make(Lines(), [])
    begun: list[int] = []
    over = asyncio.Event()

    async def exchange(number: int) -> None:
        async with line.turn():
            begun.append(number)
            await over.wait()

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(exchange(number))
        await asyncio.sleep(0)
        assert begun == [0]
        line.limit(3)
        await asyncio.sleep(0)
        assert begun == [0, 1, 2]
        over.set()


async def test_a_place_that_comes_together_with_a_cancellation_is_handed_on() -> None:
    line = make(Lines(), [])
    got: list[str] = []

    async def wait(name: str) -> None:
        async with line.turn():
            got.append(name)

    async with asyncio.TaskGroup() as group:
        async with line.turn():
            first = group.create_task(wait("first"))
            group.create_task(wait("second"))
            await asyncio.sleep(0)
        first.cancel()
    assert got == ["second"]
    assert await most_at_once(line, 3) == 1
