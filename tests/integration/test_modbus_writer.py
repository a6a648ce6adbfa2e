"""Writes: against a device in C, and against servers that falsify what they answer."""

import asyncio
import re
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import edge_agent
from edge_agent.testing.eventually import eventually
from edge_agent.writing import WriteOutcome, WriteResult
from edge_agent_modbus import DRIVER
from edge_agent_modbus.session import ModbusSession
from edge_agent_modbus.writer import ModbusWriter
from tests.servers.modbus_device import config_of, read_all, transport_of, unit, unit_on
from tests.servers.modbus_server import Gesture, Script, libmodbus_server, reply, scripted_server

POINTS: list[dict[str, Any]] = [
    {"coil": 7},
    {"holding": 0, "type": "uint16"},
    {"holding": 1, "type": "float32", "byte_order": "CDAB"},
    {"holding": 3, "bit": 5},
    {"holding": 4, "type": "int8", "byte": "high"},
    {"holding": 5, "type": "uint16", "mask": 0x0F00, "byte_order": "BADC"},
    {"holding": 6, "type": "int16", "scale": 0.1, "valid": [-40, 125]},
    {"holding": 7, "type": "uint16", "labels": {0: "stop", 1: "run"}},
    {"holding": 8, "type": "string", "length": 6, "byte_order": "BADC"},
    {"holding": 11, "type": "s7_dtl"},
    {"holding": 17, "type": "uint32", "mask": 0xFF},
    {"input": 0, "type": "uint16"},
    {"discrete": 0},
]


@asynccontextmanager
async def written_to(port: int, **keys: bool) -> AsyncIterator[tuple[ModbusWriter, ModbusSession]]:
    wire = {"host": "127.0.0.1", "port": port}
    session = await unit_on(wire, POINTS).connect()
    yield ModbusWriter(config_of(wire, POINTS), session, **keys), session
    await session.close()


@pytest.mark.parametrize(
    ("point", "value", "functions"),
    [
        (0, True, [5, 1]),
        (0, False, [5, 1]),
        (1, 54321, [6, 3]),
        (2, -1.5, [16, 3]),
        (3, True, [22, 3]),
        (3, False, [22, 3]),
        (4, -7, [22, 3]),
        (5, 9, [22, 3]),
        (6, 23.5, [6, 3]),
        (7, "run", [6, 3]),
        (8, "机床", [16, 3]),
        (9, "2026-11-23T08:05:06.000000001Z", [16, 3]),
    ],
)
async def test_what_is_written_is_what_is_read_and_nothing_else_changes(
    point: int, value: Any, functions: list[int]
) -> None:
    with libmodbus_server(registers={(1, 3, 0): b"\x20\x26\x11" * 12}) as server:
        async with written_to(server.port) as (writer, session):
            device = unit(server.port, [{"holding": 0, "type": "bytes", "length": 40}, *POINTS[point : point + 1]])
            before = (await read_all(device, session))[0]
            asked = len(server.requests())
            assert await writer.write(point, value) == WriteResult(WriteOutcome.DONE)
            assert [function for _, function, _, _ in server.requests()[asked:]] == functions
            after = await read_all(device, session)
            assert after[1] == value
            keys = POINTS[point]
            if "holding" in keys:
                size = {1: 1, 2: 2, 8: 3, 9: 6}.get(point, 1)
                first, last = 2 * keys["holding"], 2 * (keys["holding"] + size)
                assert (before[:first], before[last:]) == (after[0][:first], after[0][last:])
                mask = {3: 1 << 5, 4: 0xFF00, 5: 0x000F}.get(point, 0xFFFF)
                changed = int.from_bytes(before[first : first + 2]) ^ int.from_bytes(after[0][first : first + 2])
                assert changed & ~mask & 0xFFFF == 0, "a bit of the register that is not the point's"


@pytest.mark.parametrize(("point", "value", "function"), [(0, True, 15), (1, 7, 16)])
async def test_a_device_that_has_only_functions_15_and_16(point: int, value: Any, function: int) -> None:
    with libmodbus_server() as server:
        async with written_to(server.port, singly=False) as (writer, _):
            assert await writer.write(point, value) == WriteResult(WriteOutcome.DONE)
        assert server.requests()[0][1] == function


@pytest.mark.parametrize(
    ("point", "value", "reason"),
    [
        (1, 65536, "65536 is no uint16"),
        (6, 125.1, "outside of valid"),
        (6, 23.45, "would be read as"),
        (7, "jog", "not one of the labels"),
        (10, 3, "some bits of several registers"),
        (11, 1, "input point cannot be written"),
        (12, True, "discrete point cannot be written"),
    ],
)
async def test_what_is_not_for_the_point_is_refused_and_nothing_is_sent(
    point: int, value: Any, reason: str
) -> None:
    with libmodbus_server() as server:
        async with written_to(server.port) as (writer, _):
            result = await writer.write(point, value)
        assert (result.outcome, server.requests()) == (WriteOutcome.REFUSED, [])
    assert reason in result.reason


async def write(script: Script, point: int = 1, value: Any = 7) -> tuple[WriteResult, list[int]]:
    """Return the result and the functions that were asked for."""
    async with scripted_server(script) as server, written_to(server.port) as (writer, _):
        result = await writer.write(point, value)
        return result, [request[7] for request in server.requests]


@pytest.mark.parametrize("position", range(5))
async def test_a_falsified_echo_is_unknown_and_nothing_is_sent_again(position: int) -> None:
    def falsify(request: bytes, _: int) -> bytes:
        echo = bytearray(request[7:12])
        echo[position] ^= 1
        return reply(request, bytes(echo))

    result, functions = await write(falsify)
    assert (result.outcome, functions) == (WriteOutcome.UNKNOWN, [6])


@pytest.mark.parametrize(
    "script",
    [
        lambda request, _: reply(request, request[7:12], unit=2),
        lambda request, _: reply(request, b""),
        lambda request, _: reply(request, request[7:12] + b"\0"),
        lambda _request, _: Gesture.CLOSE,
        lambda _request, _: Gesture.RESET,
    ],
)
async def test_no_answer_of_its_own_is_unknown_and_nothing_is_sent_again(script: Script) -> None:
    result, functions = await write(script)
    assert (result.outcome, functions) == (WriteOutcome.UNKNOWN, [6])
    assert result.reason


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 8, 10, 11, 99])
async def test_an_exception_is_a_refusal_only_where_nothing_can_have_been_done(code: int) -> None:
    result, functions = await write(lambda request, _: reply(request, bytes([request[7] | 0x80, code])))
    known = code in {1, 2, 3, 6, 10}
    assert (result.outcome, functions) == (WriteOutcome.REFUSED if known else WriteOutcome.UNKNOWN, [6])
    assert f"exception {code}" in result.reason


async def test_a_device_that_says_yes_and_does_something_else_has_failed() -> None:
    def script(request: bytes, _: int) -> bytes:
        return reply(request, request[7:12] if request[7] == 6 else b"\x03\x02\x00\x08")

    result, functions = await write(script)
    assert (result.outcome, functions) == (WriteOutcome.FAILED, [6, 3])
    assert result.reason == "the device took 00 07 and holds 00 08"


@pytest.mark.parametrize("back", [b"\x83\x02", b"\x03\x04\0\7\0\7", Gesture.CLOSE])
async def test_what_cannot_be_read_back_is_unknown(back: bytes | Gesture) -> None:
    def script(request: bytes, _: int) -> bytes | Gesture:
        if request[7] == 6:
            return reply(request, request[7:12])
        return reply(request, back) if isinstance(back, bytes) else back

    result, functions = await write(script)
    assert (result.outcome, functions) == (WriteOutcome.UNKNOWN, [6, 3])
    assert result.reason.startswith("the device took it; reading it back")


async def test_the_other_bits_of_the_register_do_not_matter_when_a_bit_is_read_back() -> None:
    def script(request: bytes, _: int) -> bytes:
        return reply(request, request[7:14] if request[7] == 22 else b"\x03\x02" + struct.pack(">H", 0xFFFF))

    result, functions = await write(script, point=3, value=True)
    assert (result.outcome, functions) == (WriteOutcome.DONE, [22, 3])


async def test_a_time_out_sends_nothing_again() -> None:
    async with scripted_server(lambda _request, _: Gesture.SILENCE) as server:
        async with written_to(server.port) as (writer, session):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await writer.write(1, 7)
            late = server.requests[0]
            server.send(reply(late, late[7:12]))
            await eventually(lambda: transport_of(session).discarded == 1)
        assert len(server.requests) == 1


async def test_over_a_lost_connection_nothing_is_sent() -> None:
    async with scripted_server(lambda _request, _: Gesture.SILENCE) as server:
        async with written_to(server.port) as (writer, session):
            transport_of(session).close()
            result = await writer.write(1, 7)
        assert (result.outcome, server.requests) == (WriteOutcome.FAILED, [])
        assert result.reason.startswith("nothing was sent:")


def test_the_driver_has_the_ability_and_nothing_in_the_agent_reaches_it() -> None:
    assert DRIVER.writer is ModbusWriter
    folder = Path(edge_agent.__file__).parent
    words = re.compile(r"\b(WriteOutcome|WriteResult|Writer)\b|(spec|DRIVER)\.writer")
    named = {path.name for path in folder.rglob("*.py") if words.search(path.read_text())}
    assert named == {"driver.py", "writing.py"}
