"""Bytes of the protocol: read requests and the check of what comes back. Pure.

Source: MODBUS Application Protocol Specification V1.1b3.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

from edge_agent.errors import ExchangeError

ADDRESSES = 0x1_0000
MAX_COILS = 2000  # §6.1, §6.2
MAX_REGISTERS = 125  # §6.3, §6.4
_EXCEPTION = 0x80  # §7: set in the function code of an exception reply

_READ = struct.Struct(">BHH")


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


def read_pdu(table: Table, address: int, count: int) -> bytes:
    """Return the request that reads ``count`` coils or registers from the 0-based ``address`` on."""
    return _READ.pack(table, address, count)


def read_payload(table: Table, count: int, reply: bytes) -> bytes | ExceptionReply:
    """Return the data bytes of the reply to ``read_pdu(table, …, count)``, or the exception it carries.

    Raises:
        ExchangeError: the reply is not one to this request.
    """
    size_bytes = (count + 7) // 8 if table.has_bits else 2 * count
    if len(reply) == size_bytes + 2 and reply[0] == table and reply[1] == size_bytes:
        return reply[2:]
    if len(reply) == 2 and reply[0] == table | _EXCEPTION:  # noqa: PLR2004 - function and exception code
        return ExceptionReply(reply[1])
    if not reply or reply[0] & ~_EXCEPTION != table:
        raise ExchangeError(
            f"a request for function {table.value} was answered with {reply[:1].hex() or 'nothing'}"
        )
    raise ExchangeError(
        f"function {table.value} was answered with {len(reply)} bytes that begin with {reply[:2].hex()}, "
        f"not with {size_bytes} bytes of data for {count} {'bits' if table.has_bits else 'registers'}"
    )
