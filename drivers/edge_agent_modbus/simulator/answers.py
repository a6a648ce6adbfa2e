"""What a healthy device answers. Pure but for what is written to its memory.

Source: MODBUS Application Protocol Specification V1.1b3 §6 and §7.
"""

import struct
from collections.abc import Callable, Mapping

from edge_agent_modbus.pdu import ADDRESSES, MAX_COILS, MAX_REGISTERS, Table
from edge_agent_modbus.simulator.memory import Memory
from edge_agent_modbus.simulator.request import Block
from edge_agent_modbus.simulator.signals import Moment

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3  # §7
_COIL_VALUES = {0x0000: 0, 0xFF00: 1}  # §6.5
_MAX_WRITTEN_COILS, _MAX_WRITTEN_REGISTERS, _MAX_EXCHANGED_REGISTERS = 1968, 123, 121  # §6.11, §6.12, §6.17
_OBJECTS_BYTES = 246  # §6.21: of 253, less the head of the answer


class RefusedError(Exception):
    """The answer is an exception reply with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Answers:
    """The functions of one unit.

    Args:
        memory: its tables.
        max_coils: most bits in one request.
        max_registers: most registers in one request.
        objects: of its identification (§6.21), text by number; none: it does not know the function.
    """

    def __init__(
        self, memory: Memory, *, max_coils: int, max_registers: int, objects: Mapping[int, bytes]
    ) -> None:
        self._memory = memory
        self._max_coils = max_coils
        self._max_registers = max_registers
        self._objects = objects
        self._functions: dict[int, Callable[[bytes, Moment], bytes]] = {
            **dict.fromkeys((1, 2, 3, 4), self._read),
            5: self._write_coil, 6: self._write_register, 15: self._write_coils, 16: self._write_registers,
            22: self._mask, 23: self._exchange, 43: self._identify,
        }  # fmt: skip

    def answer(self, pdu: bytes, moment: Moment) -> bytes:
        """Return the reply to a request, which may be an exception reply."""
        function = self._functions.get(pdu[0])
        if function is None:
            return bytes([pdu[0] | 0x80, ILLEGAL_FUNCTION])
        try:
            return pdu[:1] + function(pdu, moment)
        except (RefusedError, struct.error) as exc:
            return bytes([pdu[0] | 0x80, exc.code if isinstance(exc, RefusedError) else ILLEGAL_VALUE])

    def _read(self, pdu: bytes, moment: Moment) -> bytes:
        _, address, count = struct.unpack(">BHH", pdu)
        block = Block(Table(pdu[0]), address, count)
        most = min(self._max_coils, MAX_COILS) if block.table.has_bits else min(self._max_registers, MAX_REGISTERS)
        words = self._checked(block, most).read(block, moment)
        body = _packed_bits(words) if block.table.has_bits else struct.pack(f">{count}H", *words)
        return bytes([len(body)]) + body

    def _write_coil(self, pdu: bytes, _moment: Moment) -> bytes:
        _, address, value = struct.unpack(">BHH", pdu)
        if value not in _COIL_VALUES:
            raise RefusedError(ILLEGAL_VALUE)
        block = Block(Table.COIL, address, 1)
        self._checked(block, 1).write(block, [_COIL_VALUES[value]])
        return pdu[1:]

    def _write_register(self, pdu: bytes, _moment: Moment) -> bytes:
        _, address, value = struct.unpack(">BHH", pdu)
        block = Block(Table.HOLDING, address, 1)
        self._checked(block, 1).write(block, [value])
        return pdu[1:]

    def _write_coils(self, pdu: bytes, _moment: Moment) -> bytes:
        _, address, count, size = struct.unpack_from(">BHHB", pdu)
        block, body = Block(Table.COIL, address, count), pdu[6:]
        if len(body) != size or size != (count + 7) // 8:
            raise RefusedError(ILLEGAL_VALUE)
        bits = [body[i // 8] >> i % 8 & 1 for i in range(count)]
        self._checked(block, _MAX_WRITTEN_COILS).write(block, bits)
        return pdu[1:5]

    def _write_registers(self, pdu: bytes, _moment: Moment) -> bytes:
        _, address, count, size = struct.unpack_from(">BHHB", pdu)
        if len(pdu) != 6 + size or size != 2 * count:
            raise RefusedError(ILLEGAL_VALUE)
        block = Block(Table.HOLDING, address, count)
        self._checked(block, _MAX_WRITTEN_REGISTERS).write(block, struct.unpack_from(f">{count}H", pdu, 6))
        return pdu[1:5]

    def _mask(self, pdu: bytes, moment: Moment) -> bytes:
        _, address, keep, put = struct.unpack(">BHHH", pdu)
        block = Block(Table.HOLDING, address, 1)
        (word,) = self._checked(block, 1).read(block, moment)
        self._memory.write(block, [word & keep | put & ~keep & 0xFFFF])  # §6.16
        return pdu[1:]

    def _exchange(self, pdu: bytes, moment: Moment) -> bytes:
        _, address, count, to, written, size = struct.unpack_from(">BHHHHB", pdu)
        if len(pdu) != 10 + size or size != 2 * written:
            raise RefusedError(ILLEGAL_VALUE)
        target, block = Block(Table.HOLDING, to, written), Block(Table.HOLDING, address, count)
        self._checked(target, _MAX_EXCHANGED_REGISTERS)
        self._checked(block, min(self._max_registers, MAX_REGISTERS))
        self._memory.write(target, struct.unpack_from(f">{written}H", pdu, 10))  # §6.17: the write comes first
        words = self._memory.read(block, moment)
        return bytes([2 * count]) + struct.pack(f">{count}H", *words)

    def _identify(self, pdu: bytes, _moment: Moment) -> bytes:
        _, kind, code, first = struct.unpack(">BBBB", pdu)
        if kind != 14 or not self._objects:  # noqa: PLR2004 - §6.21: read device identification
            raise RefusedError(ILLEGAL_FUNCTION)
        if code == 4:  # noqa: PLR2004 - §6.21: one object
            if first not in self._objects:
                raise RefusedError(ILLEGAL_ADDRESS)
            wanted = [first]
        elif code in {1, 2, 3}:  # basic, regular, extended
            known = [number for number in sorted(self._objects) if number < {1: 3, 2: 0x80, 3: 0x100}[code]]
            wanted = [number for number in known if number >= first] if first in known else known
        else:
            raise RefusedError(ILLEGAL_VALUE)
        body, taken = b"", 0
        for number in wanted:
            text = self._objects[number]
            if len(body) + 2 + len(text) > _OBJECTS_BYTES:
                break
            body, taken = body + bytes([number, len(text)]) + text, taken + 1
        rest = wanted[taken:]
        more = (0xFF, rest[0]) if rest else (0, 0)
        level = 0x82 if max(self._objects) > 2 else 0x81  # noqa: PLR2004 - regular objects, or the three basic ones
        return bytes([14, code, level, *more, taken]) + body

    def _checked(self, block: Block, most: int) -> Memory:
        if not 1 <= block.count <= most:
            raise RefusedError(ILLEGAL_VALUE)
        if block.end > ADDRESSES or not self._memory.holds(block):
            raise RefusedError(ILLEGAL_ADDRESS)
        return self._memory


def _packed_bits(bits: list[int]) -> bytes:
    body = bytearray((len(bits) + 7) // 8)
    for position, bit in enumerate(bits):
        body[position // 8] |= bit << position % 8
    return bytes(body)
