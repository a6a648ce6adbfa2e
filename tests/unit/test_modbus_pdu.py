"""Write requests as the specification shows them, and their echoes compared byte by byte."""

import pytest

from edge_agent.errors import ExchangeError
from edge_agent_modbus.pdu import (
    ExceptionReply,
    Table,
    check_echo,
    mask_write_pdu,
    read_pdu,
    repeats_safely,
    write_coil_pdu,
    write_coils_pdu,
    write_register_pdu,
    write_registers_pdu,
)

# MODBUS Application Protocol V1.1b3, the examples of §6.5, §6.6, §6.11 and §6.12, and one of §6.16: request, reply
EXAMPLES = [
    (write_coil_pdu(172, is_on=True), "0500acff00", "0500acff00"),
    (write_coil_pdu(172, is_on=False), "0500ac0000", "0500ac0000"),
    (write_register_pdu(1, b"\x00\x03"), "0600010003", "0600010003"),
    (
        write_coils_pdu(19, [bool(0b01_1100_1101 >> bit & 1) for bit in range(10)]),
        "0f0013000a02cd01",
        "0f0013000a",
    ),
    (write_registers_pdu(1, b"\x00\x0a\x01\x02"), "100001000204000a0102", "1000010002"),
    (mask_write_pdu(4, 0x000D, 0x0005), "160004fff20005", "160004fff20005"),
]


@pytest.mark.parametrize(("request_", "shown", "echo"), EXAMPLES)
def test_requests_and_echoes_of_the_specification(request_: bytes, shown: str, echo: str) -> None:
    assert request_.hex() == shown
    assert check_echo(request_, bytes.fromhex(echo)) is None
    assert not repeats_safely(request_)


@pytest.mark.parametrize(("request_", "echo"), [(request, echo) for request, _, echo in EXAMPLES])
def test_an_echo_with_any_byte_changed_is_not_taken(request_: bytes, echo: str) -> None:
    honest = bytes.fromhex(echo)
    for position in range(len(honest)):
        falsified = honest[:position] + bytes([honest[position] ^ 1]) + honest[position + 1 :]
        with pytest.raises(ExchangeError, match="whether anything was written is not known"):
            check_echo(request_, falsified)
    for reply in (b"", honest[:-1], honest + b"\0", request_ + b"\0"):
        with pytest.raises(ExchangeError):
            check_echo(request_, reply)
    assert check_echo(request_, bytes([honest[0] | 0x80, 2])) == ExceptionReply(2)


def test_one_request_writes_no_more_than_the_specification_allows() -> None:
    assert len(write_registers_pdu(0, bytes(246))) == 252
    assert len(write_coils_pdu(0, [True] * 1968)) == 252
    for registers in (b"", bytes(248)):
        with pytest.raises(ValueError, match="one request writes 1 to 123 registers"):
            write_registers_pdu(0, registers)
    for count in (0, 1969):
        with pytest.raises(ValueError, match="one request writes 1 to 1968 coils"):
            write_coils_pdu(0, [True] * count)


def test_a_mask_write_touches_the_bits_of_its_mask_only() -> None:
    _, and_mask, or_mask = (int.from_bytes(mask_write_pdu(7, 0x0F00, 0xABCD)[i : i + 2]) for i in (1, 3, 5))
    for register in (0x0000, 0xFFFF, 0x1234):
        after = register & and_mask | or_mask & ~and_mask & 0xFFFF  # §6.16
        assert after == register & 0xF0FF | 0x0B00


@pytest.mark.parametrize("table", list(Table))
def test_reads_may_be_repeated(table: Table) -> None:
    assert repeats_safely(read_pdu(table, 0, 1))
