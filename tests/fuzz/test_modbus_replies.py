"""Any bytes from the device: a reading for each point, Good or Bad, or a DriverError, and nothing else."""

import asyncio
import socket
import struct
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import DriverError
from edge_agent.model import Quality, ReadingBatch
from edge_agent.testing.conformance import check_batch
from edge_agent.testing.fakes import FakeContext
from edge_agent_modbus.config import ModbusDevice
from edge_agent_modbus.session import ModbusUnit
from edge_agent_modbus.tcp import TcpTransport
from edge_agent_modbus.transport import Transport

POINTS = [
    {"name": "word", "holding": 0, "type": "uint16"},
    {"name": "real", "holding": 1, "type": "float32", "byte_order": "CDAB"},
    {"name": "text", "holding": 3, "type": "string", "length": 4},
    {"name": "bit", "holding": 5, "bit": 3},
    {"name": "scaled", "holding": 6, "type": "int64", "scale": 0.01},
]
HONEST = struct.pack(">HHHB", 1, 0, 23, 1) + b"\x03\x14" + struct.pack(">HHH4sHq", 7, 0, 0x3FC0, b"ab\0\0", 8, 250)


class Wire(asyncio.Transport):
    """A socket without a network: answers each request with the next of ``answers``."""

    def __init__(self, protocol: TcpTransport, answers: Sequence[Sequence[bytes]]) -> None:
        super().__init__()
        self._protocol = protocol
        self._answers = iter(answers)
        self._socket = socket.socket()

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._socket if name == "socket" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: object) -> None:
        for piece in next(self._answers, ()):
            asyncio.get_running_loop().call_soon(self._protocol.data_received, piece)

    def abort(self) -> None:
        self._socket.close()


async def read(
    answers: Sequence[Sequence[bytes]], within_s: float = 0.001
) -> ReadingBatch | DriverError | TimeoutError:
    """Read all the points once, from a device that sends ``answers``, one after each request, each in pieces."""

    async def open_wire() -> Transport:
        protocol = TcpTransport("wire")
        protocol.connection_made(Wire(protocol, answers))
        return protocol

    context = FakeContext()
    config = {"id": "d", "driver": "modbus", "host": "wire", "points": POINTS}
    device = ModbusUnit(context, ModbusDevice.model_validate(config))
    device._line = context.line("wire", open_wire, lambda transport: transport.close())
    session = await device.connect()
    (request,) = device.plan(device.polled, frozenset())
    try:
        async with asyncio.timeout(within_s):
            return await session.read(request)
    except (DriverError, TimeoutError) as error:
        return error
    finally:
        await session.close()


def check(outcome: ReadingBatch | DriverError | TimeoutError) -> None:
    if isinstance(outcome, ReadingBatch):
        check_batch(outcome)
        assert sorted(index for column in outcome.columns for index in column.points) == [0, 1, 2, 3, 4]
    else:
        assert str(outcome) or isinstance(outcome, TimeoutError)


def test_an_honest_answer_is_read() -> None:
    outcome = asyncio.run(read([[HONEST]], within_s=5.0))
    assert isinstance(outcome, ReadingBatch)
    got = {i: v for c in outcome.columns for i, v in zip(c.points, c.values or (), strict=True)}
    assert got == {0: 7, 1: 1.5, 2: "ab", 3: 1, 4: 2.5}


@given(st.lists(st.lists(st.binary(max_size=300), max_size=3), max_size=4))
def test_any_bytes(answers: list[list[bytes]]) -> None:
    check(asyncio.run(read(answers)))


@given(st.lists(st.tuples(st.integers(0, len(HONEST) - 1), st.integers(0, 255)), max_size=4), st.integers(1, 40))
def test_an_answer_with_some_bytes_changed_in_any_pieces(changes: list[tuple[int, int]], size: int) -> None:
    answer = bytearray(HONEST)
    for position, byte in changes:
        answer[position] = byte
    outcome = asyncio.run(read([[bytes(answer[i : i + size]) for i in range(0, len(answer), size)]]))
    check(outcome)
    if answer[:9] != HONEST[:9]:
        assert not isinstance(outcome, ReadingBatch), "an answer to another request was taken"


@given(st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 8, 10, 11, 255, None]), min_size=1, max_size=12))
def test_any_exceptions_one_after_the_other(codes: list[int | None]) -> None:
    answers = []
    for transaction, code in enumerate(codes, start=1):
        answers.append([struct.pack(">HHHBBB", transaction, 0, 3, 1, 0x83, code)] if code is not None else [])
    outcome = asyncio.run(read(answers))
    check(outcome)
    if isinstance(outcome, ReadingBatch):
        assert all(status != Quality.GOOD for c in outcome.columns for status in c.statuses or (0,))
