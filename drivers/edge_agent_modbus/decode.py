"""From the data bytes of one reply to columns. Compiled once for each request; pure.

Byte order. The bytes of a value arrive in the order A B C D (E F G H) if the device keeps to the standard.
Two things can be different, alone or together: the two bytes of each register are swapped (BADC), the registers
come last one first (CDAB), or both (DCBA). So the four orders are two choices, *swap the pairs of the payload
first* and *read little-endian*, and one ``struct.Struct`` reads all the values of one order in a block.
"""

import struct
from array import array
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from enum import Enum, StrEnum
from math import isfinite
from operator import itemgetter
from typing import Any

from edge_agent.model import Column, DataType, Quality
from edge_agent_modbus.pdu import Table

_BITS_OF_BYTE = tuple(bytes(byte >> bit & 1 for bit in range(8)) for byte in range(256))  # §6.1: LSB first


class ValueType(Enum):
    """What the registers of a point mean; the value is ``(word, data type, struct format, registers)``."""

    BOOL = ("bool", DataType.BOOL, "H", 1)
    INT16 = ("int16", DataType.INT16, "h", 1)
    UINT16 = ("uint16", DataType.UINT16, "H", 1)
    INT32 = ("int32", DataType.INT32, "i", 2)
    UINT32 = ("uint32", DataType.UINT32, "I", 2)
    INT64 = ("int64", DataType.INT64, "q", 4)
    UINT64 = ("uint64", DataType.UINT64, "Q", 4)
    FLOAT32 = ("float32", DataType.FLOAT32, "f", 2)
    FLOAT64 = ("float64", DataType.FLOAT64, "d", 4)
    STRING = ("string", DataType.STRING, "s", 0)
    BYTES = ("bytes", DataType.BYTES, "s", 0)

    def __init__(self, word: str, data_type: DataType, format_char: str, registers: int) -> None:
        self.word = word
        self.data_type = data_type
        self.format_char = format_char
        self.registers = registers

    @property
    def is_number(self) -> bool:
        """Whether it can be scaled."""
        return self.format_char != "s" and self is not ValueType.BOOL


class ByteOrder(StrEnum):
    """In which order the bytes of a value arrive; A is the most significant one."""

    ABCD = "ABCD"
    CDAB = "CDAB"
    BADC = "BADC"
    DCBA = "DCBA"

    @property
    def swaps_pairs(self) -> bool:
        """Whether the payload is read with the bytes of each register swapped."""
        return self in {ByteOrder.BADC, ByteOrder.CDAB}

    @property
    def is_little(self) -> bool:
        """Whether it is then read little-endian."""
        return self in {ByteOrder.CDAB, ByteOrder.DCBA}


@dataclass(frozen=True, slots=True)
class Source:
    """Where the value of one point lies in the device, and how it is made of registers.

    Attributes:
        address: 0-based PDU address of the first coil or register.
        bit: of a BOOL in a register table; 0 is the least significant.
        length_bytes: of STRING and BYTES.
        scale, offset: ``value * scale + offset``; the result is a float64 unless they are 1 and 0.
    """

    index: int
    table: Table
    address: int
    value_type: ValueType
    byte_order: ByteOrder = ByteOrder.ABCD
    bit: int = 0
    length_bytes: int = 0
    scale: float = 1.0
    offset: float = 0.0

    @property
    def size(self) -> int:
        """Coils or registers that it occupies."""
        return 1 if self.table.has_bits else self.value_type.registers or (self.length_bytes + 1) // 2

    @property
    def end(self) -> int:
        """The address behind it."""
        return self.address + self.size

    @property
    def is_scaled(self) -> bool:
        """Whether its value is computed, and so a float64."""
        return self.scale != 1.0 or self.offset != 0.0

    @property
    def data_type(self) -> DataType:
        """Of the column it goes to."""
        return DataType.FLOAT64 if self.is_scaled else self.value_type.data_type


Decoder = Callable[[bytes], tuple[Column, ...]]
_Raw = Sequence[Any]  # one by one what lies in the block: int, float and bytes side by side
_Take = Callable[[_Raw], Iterable[Any]]
_Build = Callable[[_Raw], Column]


def compile_decoder(sources: Sequence[Source], address: int, count: int) -> Decoder:
    """Return the function that makes columns of the payload of a read of ``count`` from ``address`` on.

    ``sources`` are of one table and lie within the block, in any order; they may overlap.
    """
    by_type: dict[DataType, list[Source]] = {}
    for source in sources:
        by_type.setdefault(source.data_type, []).append(source)
    if sources[0].table.has_bits:
        unpack: Callable[[bytes], _Raw] = _unpack_bits
        place = {source: source.address - address for source in sources}
        total = count + -count % 8
    else:
        unpack, place, total = _compile_unpack(sources, address, 2 * count)
    builds = [
        _compile_column(data_type, group, _compile_take([place[source] for source in group], total))
        for data_type, group in by_type.items()
    ]
    if len(builds) == 1:
        build = builds[0]
        return lambda payload: (build(unpack(payload)),)

    def decode(payload: bytes) -> tuple[Column, ...]:
        raw = unpack(payload)
        return tuple([build(raw) for build in builds])

    return decode


def _unpack_bits(payload: bytes) -> _Raw:
    return b"".join([_BITS_OF_BYTE[byte] for byte in payload])


def _swap_pairs(payload: bytes) -> bytes:
    registers = array("H", payload)
    registers.byteswap()
    return registers.tobytes()


def _compile_unpack(
    sources: Sequence[Source], address: int, size_bytes: int
) -> tuple[Callable[[bytes], _Raw], dict[Source, int], int]:
    """Return what unpacks a payload, the position of each source in its result, and the length of the result.

    Sources that read the same bytes in the same way share a position; other overlaps need a pass of their own.
    """
    passes: list[tuple[bool, bool, list[tuple[int, str]]]] = []  # swaps pairs, little-endian, (offset, format)
    for swaps, little in sorted({_layout(source) for source in sources}):
        fields = {_field(source, address) for source in sources if _layout(source) == (swaps, little)}
        open_passes: list[list[tuple[int, str]]] = []
        for offset, code in sorted(fields):
            for fitting in open_passes:
                last_offset, last_code = fitting[-1]
                if last_offset + struct.calcsize(f">{last_code}") <= offset:
                    fitting.append((offset, code))
                    break
            else:
                open_passes.append([(offset, code)])
        passes += [(swaps, little, fitting) for fitting in open_passes]
    positions: dict[tuple[bool, bool, int, str], int] = {}
    for swaps, little, fields_of_pass in passes:
        for offset, code in fields_of_pass:
            positions[swaps, little, offset, code] = len(positions)
    place = {source: positions[*_layout(source), *_field(source, address)] for source in sources}
    structs = [(swaps, _compile_struct(little, fields_, size_bytes)) for swaps, little, fields_ in passes]
    if len(structs) == 1 and not structs[0][0]:
        return structs[0][1].unpack, place, len(positions)

    def unpack(payload: bytes) -> _Raw:
        swapped = _swap_pairs(payload)
        raw: tuple[Any, ...] = ()
        for swaps, block in structs:
            raw += block.unpack(swapped if swaps else payload)
        return raw

    return unpack, place, len(positions)


def _layout(source: Source) -> tuple[bool, bool]:
    return source.byte_order.swaps_pairs, source.byte_order.is_little


def _field(source: Source, address: int) -> tuple[int, str]:
    length = str(source.length_bytes) if source.value_type.format_char == "s" else ""
    return 2 * (source.address - address), length + source.value_type.format_char


def _compile_struct(little: bool, fields: Sequence[tuple[int, str]], size_bytes: int) -> struct.Struct:  # noqa: FBT001
    layout, position = "<" if little else ">", 0
    for offset, code in fields:
        layout += f"{offset - position}x{code}"
        position = offset + struct.calcsize(f">{code}")
    return struct.Struct(f"{layout}{size_bytes - position}x")


def _compile_take(positions: Sequence[int], total: int) -> _Take:
    first, count = positions[0], len(positions)
    if list(positions) != list(range(first, first + count)):
        return itemgetter(*positions)
    if count == total:
        return lambda raw: raw
    return itemgetter(slice(first, first + count))


def _compile_column(data_type: DataType, sources: Sequence[Source], take: _Take) -> _Build:
    points = array("H", [source.index for source in sources])
    if data_type is DataType.STRING:
        return _compile_strings(points, take)
    if data_type is DataType.BYTES:
        return lambda raw: Column(data_type, points, list(take(raw)))
    if data_type.is_float:
        return _compile_floats(data_type, points, sources, take)
    typecode = data_type.typecode
    if data_type is DataType.BOOL and not sources[0].table.has_bits:
        bits = [source.bit for source in sources]
        return lambda raw: Column(
            data_type, points, array(typecode, [r >> bit & 1 for r, bit in zip(take(raw), bits, strict=True)])
        )
    return lambda raw: Column(data_type, points, array(typecode, take(raw)))


def _compile_floats(data_type: DataType, points: "array[int]", sources: Sequence[Source], take: _Take) -> _Build:
    typecode = data_type.typecode
    if any(source.is_scaled for source in sources):
        terms = [(*_factor(source.scale), source.offset) for source in sources]

        def scaled(raw: _Raw) -> Column:
            return _float_column(
                data_type,
                points,
                array(
                    typecode,
                    [
                        value / divisor * factor + offset
                        for value, (divisor, factor, offset) in zip(take(raw), terms, strict=True)
                    ],
                ),
            )

        return scaled
    return lambda raw: _float_column(data_type, points, array(typecode, take(raw)))


def _factor(scale: float) -> tuple[float, float]:
    """Return ``(divisor, factor)``: dividing by 10 gives 0.3 for 3, multiplying by 0.1 does not."""
    divisor = round(1 / scale) if abs(scale) < 1 and isfinite(1 / scale) else 0
    return (float(divisor), 1.0) if divisor and 1 / divisor == scale else (1.0, scale)


def _float_column(data_type: DataType, points: "array[int]", values: "array[float]") -> Column:
    """Return the column; NaN and infinities are Bad: they are not numbers that anybody measured."""
    if isfinite(sum(values)):
        return Column(data_type, points, values)
    statuses = array("I", [Quality.GOOD if isfinite(value) else Quality.BAD_OUT_OF_RANGE for value in values])
    return Column(data_type, points, values, statuses if any(statuses) else None)


def _compile_strings(points: "array[int]", take: _Take) -> _Build:
    def build(raw: _Raw) -> Column:
        values: list[str] = []
        statuses = array("I")
        for text in take(raw):
            try:
                values.append(text.rstrip(b"\0 ").decode())
                statuses.append(Quality.GOOD)
            except UnicodeDecodeError:
                values.append("")
                statuses.append(Quality.BAD_DECODING_ERROR)
        return Column(DataType.STRING, points, values, statuses if any(statuses) else None)

    return build


def join_columns(parts: Sequence[tuple[int, Sequence[Column]]], time_ns: int) -> tuple[Column, ...]:
    """Return the columns of several exchanges as one column per data type.

    Args:
        parts: time of the answer and its columns, in the order of the exchanges.
        time_ns: of the batch that the result goes into.
    """
    joined: dict[DataType, tuple[array[int], Any, array[int], array[int]]] = {}
    for part_ns, columns in parts:
        for column in columns:
            count = len(column)
            statuses = column.statuses or array("I", [Quality.GOOD]) * count
            offsets_ns = array("q", [part_ns - time_ns]) * count
            if column.data_type not in joined:
                joined[column.data_type] = (column.points[:], copy(column.values), statuses, offsets_ns)
                continue
            points, values, all_statuses, all_offsets_ns = joined[column.data_type]
            points.extend(column.points)
            all_statuses.extend(statuses)
            all_offsets_ns.extend(offsets_ns)
            if values is not None:
                values.extend(column.values)
    return tuple(
        Column(
            data_type, points, values, statuses if any(statuses) else None, offsets_ns if any(offsets_ns) else None
        )
        for data_type, (points, values, statuses, offsets_ns) in joined.items()
    )
