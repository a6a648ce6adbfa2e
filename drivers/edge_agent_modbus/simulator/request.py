"""What a request asks for, as a server sees it. Pure.

Source: MODBUS Application Protocol Specification V1.1b3 §6.
"""

import struct
from dataclasses import dataclass

from edge_agent_modbus.pdu import Table

_TABLE_OF_FUNCTION = {
    1: Table.COIL, 2: Table.DISCRETE, 3: Table.HOLDING, 4: Table.INPUT, 5: Table.COIL, 6: Table.HOLDING,
    15: Table.COIL, 16: Table.HOLDING, 22: Table.HOLDING, 23: Table.HOLDING,
}  # fmt: skip
_ONE_VALUE = {5, 6, 22}
_NAMES = {5: "write", 6: "write", 15: "write", 16: "write", 22: "mask", 23: "read and write"}


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring addresses of a table."""

    table: Table
    address: int
    count: int

    @property
    def end(self) -> int:
        """The address behind it."""
        return self.address + self.count

    def touches(self, other: "Block") -> bool:
        """Return whether the two have an address in common."""
        return self.table is other.table and self.address < other.end and other.address < self.end


def block_of(pdu: bytes) -> Block | None:
    """Return what a request is about; None for what has no addresses, and for what is cut short."""
    table = _TABLE_OF_FUNCTION.get(pdu[0]) if len(pdu) >= 5 else None  # noqa: PLR2004 - function, two words
    if table is None:
        return None
    address, count = struct.unpack_from(">HH", pdu, 1)
    return Block(table, address, 1 if pdu[0] in _ONE_VALUE else count)


def describe(unit: int, pdu: bytes) -> str:
    """Return the request as ``check --plan`` writes it, as far as it has the same parts."""
    block = block_of(pdu)
    if block is None:
        return f"unit {unit} FC{pdu[0] if pdu else 0}"
    verb = f"{_NAMES[pdu[0]]} " if pdu[0] in _NAMES else ""
    return f"unit {unit} FC{pdu[0]} {verb}{block.table.word} {block.address}..{block.end - 1}"
