"""Several requests under way: whatever order and numbers answers have, none is taken for another request's."""

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import DriverError
from edge_agent_modbus.pdu import Table, read_pdu
from edge_agent_modbus.tcp import HEADER, TcpTransport
from edge_agent_modbus.window import Window


class Wire(asyncio.Transport):
    """A connection on which nothing happens by itself."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self if name == "socket" else default

    def setsockopt(self, *_: object) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def abort(self) -> None: ...


async def ask(count: int, frames: Sequence[tuple[int, int]], chunk: int) -> list[int | None]:
    """Ask for registers 1 to ``count`` at once; return what each gave after ``frames``: transaction, value."""
    transport = TcpTransport("peer", Window(count, {}))
    transport.connection_made(Wire())
    results: list[int | None] = [None] * count

    async def one(number: int) -> None:
        try:
            answer = await transport.exchange(1, read_pdu(Table.HOLDING, number, 1))
            results[number - 1] = int.from_bytes(answer[2:])
        except DriverError:
            pass

    data = b"".join(HEADER.pack(number, 0, 5, 1) + b"\3\2" + value.to_bytes(2) for number, value in frames)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number)) for number in range(1, count + 1)]
        await asyncio.sleep(0)
        for begin in range(0, len(data), chunk):
            transport.data_received(data[begin : begin + chunk])
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
    return results


@given(st.integers(1, 8).flatmap(lambda count: st.permutations(range(1, count + 1))), st.integers(1, 40))
def test_answers_in_any_order_and_pieces_reach_their_own_requests(order: list[int], chunk: int) -> None:
    frames = [(number, number) for number in order]
    assert asyncio.run(ask(len(order), frames, chunk)) == list(range(1, len(order) + 1))


@st.composite
def overwritten(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Return answers in order, each with the number of the last request that had come until then."""
    count = draw(st.integers(1, 8))
    arrived, frames = 0, []
    for value in range(1, count + 1):
        arrived = max(value, arrived, draw(st.integers(1, count)))
        frames.append((arrived, value))
    return frames


@given(overwritten(), st.integers(1, 40))
def test_a_device_that_overwrites_the_number_gives_no_wrong_value(
    frames: list[tuple[int, int]], chunk: int
) -> None:
    results = asyncio.run(ask(len(frames), frames, chunk))
    for number, result in enumerate(results, start=1):
        assert result in {number, None}
    if all(number == value for number, value in frames):
        assert None not in results


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20), st.integers(1, 40))
def test_any_answers_leave_a_transport_that_gives_each_request_one_answer_at_most(
    frames: list[tuple[int, int]], chunk: int
) -> None:
    named = {number: {value for one, value in frames if one == number} for number, _ in frames}
    for number, result in enumerate(asyncio.run(ask(6, frames, chunk)), start=1):
        assert result is None or result in named[number]
