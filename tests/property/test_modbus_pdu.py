"""Any bytes as an answer: what was asked for, an exception, or an ExchangeError, and nothing else."""

import asyncio
import contextlib

from hypothesis import example, given
from hypothesis import strategies as st

from edge_agent.errors import ExchangeError
from edge_agent_modbus.identification import Category, Identification, identification_part, identify
from edge_agent_modbus.pdu import (
    Table,
    check_echo,
    mask_write_pdu,
    read_payload,
    write_coils_pdu,
    write_register_pdu,
    write_registers_pdu,
)

WRITES = [
    write_register_pdu(7, b"\1\2"),
    write_coils_pdu(7, [True, False]),
    write_registers_pdu(7, b"\1\2\3\4"),
    mask_write_pdu(7, 0xF, 3),
]


@given(st.sampled_from(list(Table)), st.integers(1, 125), st.binary(max_size=260))
def test_reads(table: Table, count: int, reply: bytes) -> None:
    with contextlib.suppress(ExchangeError):
        payload = read_payload(table, count, reply)
        if isinstance(payload, bytes):
            assert len(payload) == ((count + 7) // 8 if table.has_bits else 2 * count)


@given(st.sampled_from(WRITES), st.binary(max_size=12))
@example(WRITES[0], WRITES[0])
def test_writes(request: bytes, reply: bytes) -> None:
    with contextlib.suppress(ExchangeError):
        if check_echo(request, reply) is None:
            assert request.startswith(reply)
            assert len(reply) >= 5


@given(st.sampled_from(list(Category)), st.binary(max_size=60))
def test_identifications(category: Category, tail: bytes) -> None:
    for reply in (tail, bytes([0x2B, 0x0E, category]) + tail):
        with contextlib.suppress(ExchangeError):
            identification_part(category, reply)


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=5), st.sampled_from([0, 255])), max_size=80))
def test_an_identification_ends(parts: list[tuple[int, bytes, int]]) -> None:
    asked: list[bytes] = []
    answers = iter(parts)

    async def exchange(pdu: bytes) -> bytes:
        asked.append(pdu)
        number, body, more = next(answers, (0, b"", 255))
        return bytes([0x2B, 0x0E, 3, 0x83, more, number, 1, number, len(body)]) + body

    assert isinstance(asyncio.run(identify(exchange)), Identification)
    assert 1 <= len(asked) <= 64
