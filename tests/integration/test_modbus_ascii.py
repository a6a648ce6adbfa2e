"""Frames of characters: which one answers, noise, late answers."""

import asyncio

import pytest

from edge_agent.errors import ExchangeError
from edge_agent.testing.eventually import eventually
from edge_agent_modbus.ascii import AsciiTransport, lrc
from edge_agent_modbus.pdu import Table, read_pdu


def frame(data: bytes) -> bytes:
    return b":" + (data + lrc(data)).hex().upper().encode() + b"\r\n"


def test_the_check_of_a_known_frame() -> None:
    assert lrc(bytes.fromhex("11030 06B0003".replace(" ", ""))) == bytes.fromhex("7e")  # Modicon PI-MBUS-300


class Wire(asyncio.Transport):
    """Takes what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(bytes(data))

    def abort(self) -> None:
        pass


async def answered(*pieces: bytes) -> tuple[bytes, AsciiTransport, Wire]:
    """Ask unit 1 for register 10, and let ``pieces`` come."""
    transport, wire = AsciiTransport("line", 0.0, 10.0), Wire()
    transport.connection_made(wire)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        asked = group.create_task(transport.exchange(1, read_pdu(Table.HOLDING, 10, 1)))
        await asyncio.sleep(0)
        for piece in pieces:
            transport.data_received(piece)
            await asyncio.sleep(0)
        return await asked, transport, wire


GOOD = frame(b"\1\3\2\0\x0a")


@pytest.mark.parametrize(
    "pieces",
    [
        [GOOD],
        [bytes([byte]) for byte in GOOD],
        [b"noise", GOOD],
        [b":0103", GOOD],  # cut off, and then once more
        [frame(b"\2\3\2\0\x63"), GOOD],  # of another unit
        [frame(b"\1\4\2\0\x63"), GOOD],  # of another function
        [frame(b"\1\3\4\0\x63\0\x63"), GOOD],  # of another size
        [frame(b"\1\x83\2\2"), GOOD],  # an exception with a byte too many
        [frame(b"\1\3\2\0\x63").replace(b"63", b"64"), GOOD],  # damaged
        [b":01 03 02 00 63 97\r\n", GOOD],
        [b"\r\n:\r\n:zz\r\n", GOOD],
        [GOOD.lower()],
    ],
)
async def test_which_frame_is_the_answer(pieces: list[bytes]) -> None:
    answer, transport, wire = await answered(*pieces)
    assert answer == b"\3\2\0\x0a"
    assert wire.sent == [b":0103000A0001F1\r\n"]
    assert transport.discarded == b"".join(pieces).count(b"\r\n") - 1


async def test_an_exception_is_an_answer() -> None:
    assert (await answered(frame(b"\1\x83\2")))[0] == b"\x83\2"


async def test_noise_alone_is_told_and_asked_again() -> None:
    transport, wire = AsciiTransport("line", 0.0, 5.0), Wire()
    transport._gap_s = 0.01
    transport.connection_made(wire)
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(outcome(transport))
        await eventually(lambda: len(wire.sent) == 1)
        transport.data_received(b":0103 ")
        await eventually(lambda: len(wire.sent) == 2)
        transport.data_received(b":0103 ")
    assert "6 bytes that are no answer (3a 30 31 30 33 20 …)" in asked.result()


async def outcome(transport: AsciiTransport) -> str:
    """Return why register 10 cannot be had."""
    with pytest.raises(ExchangeError) as caught:
        await transport.exchange(1, read_pdu(Table.HOLDING, 10, 1))
    return str(caught.value)


async def test_a_late_answer_is_not_taken_for_that_to_the_next_request() -> None:
    transport, wire = AsciiTransport("line", 0.0, 0.02), Wire()
    transport.connection_made(wire)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.03):
            await transport.exchange(1, read_pdu(Table.HOLDING, 10, 1))
    transport._answer_s = 5.0
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        before = len(wire.sent)
        asked = group.create_task(transport.exchange(1, read_pdu(Table.HOLDING, 20, 1)))
        await eventually(lambda: len(wire.sent) > before)
        fence = bytes.fromhex(wire.sent[before][1:-4].decode())
        assert fence[1] != 3, "an answer to this could be a late one"
        transport.data_received(GOOD * 2 + frame(fence))
        await eventually(lambda: len(wire.sent) > before + 1)
        transport.data_received(frame(b"\1\3\2\0\x14"))
        assert await asked == b"\3\2\0\x14"
