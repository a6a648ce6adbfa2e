"""Bytes of the protocol: requests that read and write, and the check of what comes back. Pure.

Source: MODBUS Application Protocol Specification V1.1b3.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from edge_agent.errors import ExchangeError

ADDRESSES = 0x1_0000
MAX_COILS = 2000  # §6.1, §6.2
MAX_REGISTERS = 125  # §6.3, §6.4
MAX_WRITTEN_COILS = 1968  # §6.11
MAX_WRITTEN_REGISTERS = 123  # §6.12
_EXCEPTION = 0x80  # §7: set in the function code of an exception reply

_READ = struct.Struct(">BHH")
_WRITE_ONE = struct.Struct(">BHH")
_WRITE_MANY = struct.Struct(">BHHB")
_MASK = struct.Struct(">BHHH")
_ON, _OFF = 0xFF00, 0x0000  # §6.5


class Table(IntEnum):
    """A table of the data model; the value is the function code that reads it (§6.1 to §6.4)."""

    COIL = 1
    DISCRETE = 2
    HOLDING = 3
    INPUT = 4

    @property
    def word(self) -> str:
        """As it is written in the configuration."""
        return self.name.lower()

    @property
    def has_bits(self) -> bool:
        """Whether an address holds one bit, not a register of 16."""
        return self in {Table.COIL, Table.DISCRETE}


@dataclass(frozen=True, slots=True)
class ExceptionReply:
    """The device answered, and its answer is no (§7)."""

    code: int


class ShortReplyError(ExchangeError):
    """A whole reply to the request, with fewer data than it asked for."""


def read_pdu(table: Table, address: int, count: int) -> bytes:
    """Return the request that reads ``count`` coils or registers from the 0-based ``address`` on."""
    return _READ.pack(table, address, count)


def exception_reply(function: int, reply: bytes) -> ExceptionReply | None:
    """Return the exception that a reply to ``function`` carries, None if it carries none."""
    if len(reply) == 2 and reply[0] == function | _EXCEPTION:  # noqa: PLR2004 - function and exception code
        return ExceptionReply(reply[1])
    return None


def repeats_safely(pdu: bytes) -> bool:
    """Whether a request may be sent a second time when no answer came: it only reads (§6.1 to §6.4, §6.21)."""
    return pdu[0] in {1, 2, 3, 4, 0x2B}


def read_payload(table: Table, count: int, reply: bytes) -> bytes | ExceptionReply:
    """Return the data bytes of the reply to ``read_pdu(table, …, count)``, or the exception it carries.

    Raises:
        ShortReplyError: it is one, of fewer data.
        ExchangeError: the reply is not one to this request.
    """
    size_bytes = (count + 7) // 8 if table.has_bits else 2 * count
    if len(reply) == size_bytes + 2 and reply[0] == table and reply[1] == size_bytes:
        return reply[2:]
    refusal = exception_reply(table, reply)
    if refusal is not None:
        return refusal
    if not reply or reply[0] & ~_EXCEPTION != table:
        raise ExchangeError(
            f"a request for function {table.value} was answered with {reply[:1].hex() or 'nothing'}"
        )
    is_short = len(reply) > 1 and reply[0] == table and reply[1] == len(reply) - 2 < size_bytes
    raise (ShortReplyError if is_short else ExchangeError)(
        f"function {table.value} was answered with {len(reply)} bytes that begin with {reply[:2].hex()}, "
        f"not with {size_bytes} bytes of data for {count} {'bits' if table.has_bits else 'registers'}"
    )


def write_coil_pdu(address: int, is_on: bool) -> bytes:  # noqa: FBT001 - the value that is written
    """Return the request that writes one coil (§6.5)."""
    return _WRITE_ONE.pack(5, address, _ON if is_on else _OFF)


def write_register_pdu(address: int, register: bytes) -> bytes:
    """Return the request that writes one holding register (§6.6)."""
    return _WRITE_ONE.pack(6, address, int.from_bytes(register))


def write_coils_pdu(address: int, coils: Sequence[bool]) -> bytes:
    """Return the request that writes coils side by side (§6.11)."""
    _check_count(len(coils), MAX_WRITTEN_COILS, "coils")
    size_bytes = (len(coils) + 7) // 8
    packed = sum(1 << position for position, is_on in enumerate(coils) if is_on).to_bytes(size_bytes, "little")
    return _WRITE_MANY.pack(15, address, len(coils), size_bytes) + packed


def write_registers_pdu(address: int, registers: bytes) -> bytes:
    """Return the request that writes holding registers side by side, two bytes each (§6.12)."""
    count = len(registers) // 2
    _check_count(count, MAX_WRITTEN_REGISTERS, "registers")
    return _WRITE_MANY.pack(16, address, count, 2 * count) + registers


def mask_write_pdu(address: int, mask: int, bits: int) -> bytes:
    """Return the request by which the device sets those bits of a holding register that are in ``mask`` (§6.16).

    The device computes ``register AND and_mask OR (or_mask AND NOT and_mask)``: the other bits stay as they are.
    """
    return _MASK.pack(22, address, ~mask & 0xFFFF, bits & mask)


def check_echo(request: bytes, reply: bytes) -> ExceptionReply | None:
    """Return the exception that answers a write request, None if the device says that it has carried it out.

    The echo of functions 5, 6 and 22 is the request; that of 15 and 16 is its function, address and count.

    Raises:
        ExchangeError: the reply is neither. Whether anything was written is not known.
    """
    refusal = exception_reply(request[0], reply)
    if refusal is not None:
        return refusal
    echo = request[: _WRITE_ONE.size] if request[0] in {15, 16} else request
    if reply != echo:
        raise ExchangeError(
            f"the write request {echo.hex(' ')} was answered with {reply.hex(' ') or 'nothing'}; "
            "whether anything was written is not known"
        )
    return None


def _check_count(count: int, most: int, what: str) -> None:
    if not 1 <= count <= most:
        raise ValueError(f"one request writes 1 to {most} {what}, not {count}")
