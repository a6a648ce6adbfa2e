"""Which ways of reading registers give a known value: all types and orders, likely scales and places. Pure.

What fits is ranked by a *doubt*: the sum of how unusual each choice is, and of how far the reading is from the
value.
The figures are judgement, not measurement; they order, and nothing else.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from math import isfinite

from edge_agent.model import Quality
from edge_agent_modbus.encode import read_again
from edge_agent_modbus.pdu import ADDRESSES, Table
from edge_agent_modbus.probe.known import Known, Tolerance
from edge_agent_modbus.source import ByteOrder, Encoding, Source, ValueType, factor_of

Words = Mapping[tuple[Table, int], int]
"""What was read: each coil (0 or 1) or register."""


class Placing(Enum):
    """How the written number and the address on the wire go together: ``(word, difference)``."""

    AS_WRITTEN = ("as written", 0)
    LOWER = ("one lower", -1)  # a 1-based number that was taken for 0-based
    HIGHER = ("one higher", 1)  # a 0-based address that was taken for a number of the data model
    LITERAL = ("the number itself is the address", None)  # register: 40010 is at 40010
    NUMBERED = ("the address is a number of the data model", None)  # holding: 40010 is at 9

    def __init__(self, word: str, difference: int | None) -> None:
        self.word = word
        self.difference = difference

    def address(self, known: Known) -> int | None:
        """Return the 0-based address, None if there is none."""
        if self.difference is not None:
            address = known.address + self.difference
        elif self is Placing.LITERAL:
            address = known.number if known.is_register and known.number != known.address else -1
        else:
            first = {Table.HOLDING: 40001, Table.INPUT: 30001, Table.DISCRETE: 10001}.get(known.table, ADDRESSES)
            address = -1 if known.is_register else known.number - first
        return address if 0 <= address < ADDRESSES else None


_PLACING_DOUBT = {
    Placing.AS_WRITTEN: 0.0, Placing.LOWER: 4.0, Placing.HIGHER: 4.0, Placing.LITERAL: 5.0, Placing.NUMBERED: 5.0,
}  # fmt: skip
_TYPE_DOUBT = {
    ValueType.INT16: 2.0, ValueType.UINT16: 2.1, ValueType.FLOAT32: 2.0, ValueType.UINT32: 3.0,
    ValueType.INT32: 3.1, ValueType.FLOAT64: 5.0, ValueType.INT64: 6.0, ValueType.UINT64: 6.1,
    ValueType.UINT8: 7.0, ValueType.INT8: 7.1, ValueType.BCD16: 8.0, ValueType.BCD32: 8.0, ValueType.BCD64: 8.5,
    ValueType.FLOAT16: 8.0,
}  # fmt: skip
_ORDER_DOUBT = {ByteOrder.ABCD: 0.0, ByteOrder.CDAB: 1.0, ByteOrder.DCBA: 3.0, ByteOrder.BADC: 4.0}
_SINGLE_ORDERS = (ByteOrder.ABCD, ByteOrder.BADC)  # of one register, the others are the same as these
SCALES = {
    1.0: 0.0, 0.1: 1.0, 0.01: 1.2, 0.001: 2.0, 10.0: 3.0, 100.0: 4.0, 0.0001: 4.0, 1000.0: 4.0, 0.5: 5.0, 0.2: 6.0,
    0.25: 6.0, 0.05: 6.0, 0.02: 6.0,
}  # fmt: skip
"""Scales that are tried, with their doubt."""
_SCALED_FLOAT_DOUBT = 4.0
_OTHER_TABLE_DOUBT = 4.0
_DISTANCE_DOUBT = 4.0  # at the end of the tolerance
_TEXT_DOUBT = 2.0
_TIME_DOUBT = 2.0
_BIT_DOUBT = 3.0
_VALUE_REGISTERS = (2, 4)
_MORE_REGISTERS = 16  # a text may have so many more than it fills
_CLOCK_TOLERANCE = timedelta(minutes=5)
_LEAST_TEXT = 2
_HALF_REGISTER = 8  # bits


@dataclass(frozen=True, slots=True)
class Fit:
    """One way to read a known value.

    Attributes:
        reading: what it gives.
        doubt: less is more likely.
    """

    source: Source
    placing: Placing
    reading: bool | float | str
    doubt: float

    @property
    def orders(self) -> frozenset[ByteOrder]:
        """Orders of the bytes that it is in keeping with."""
        if self.source.table.has_bits or self.source.value_type in {ValueType.INT8, ValueType.UINT8}:
            return frozenset(ByteOrder)
        if self.source.value_type.format_char == "s":  # texts and times often have an order of their own
            return frozenset(ByteOrder)
        if self.source.size == 1:
            swaps = self.source.byte_order is ByteOrder.BADC
            return frozenset({ByteOrder.BADC, ByteOrder.DCBA} if swaps else {ByteOrder.ABCD, ByteOrder.CDAB})
        return frozenset({self.source.byte_order})


def places(known: Known) -> Iterator[tuple[Placing, Table, int, float]]:
    """Yield where a value may lie, each place with its doubt."""
    other = {
        Table.HOLDING: Table.INPUT,
        Table.INPUT: Table.HOLDING,
        Table.COIL: Table.DISCRETE,
        Table.DISCRETE: Table.COIL,
    }[known.table]
    for table, doubt in ((known.table, 0.0), (other, _OTHER_TABLE_DOUBT)):
        for placing in Placing:
            address = placing.address(known)
            if address is not None:
                yield placing, table, address, doubt + _PLACING_DOUBT[placing]


def registers_of(known: Known) -> int:
    """Return how many addresses behind its first one a value may take."""
    if known.table.has_bits:
        return 1
    if isinstance(known.value, str):
        return max(6, (len(known.value.encode()) + 1) // 2 + _MORE_REGISTERS)  # a time has 6 at most
    return max(4, (len(f"{known.value}") + 1) // 2)


def fits(known: Known, words: Words, tolerance: Tolerance) -> tuple[Fit, ...]:
    """Return every way to read ``known``, the most likely first."""
    found: list[Fit] = []
    for placing, table, address, doubt in places(known):
        for source, own_doubt in _sources(known, table, address, words):
            registers = _payload(source, words)
            if registers is None:
                continue
            for scaled, reading, scale_doubt in _readings(known, source, registers, tolerance):
                found.append(Fit(scaled, placing, reading, doubt + own_doubt + scale_doubt))
    return tuple(sorted(found, key=lambda fit: fit.doubt))


def _payload(source: Source, words: Words) -> bytes | None:
    cells = [words.get((source.table, address)) for address in range(source.address, source.end)]
    if any(cell is None for cell in cells):
        return None
    if source.table.has_bits:
        return bytes([cells[0] or 0])
    return b"".join((cell or 0).to_bytes(2) for cell in cells)


def _sources(known: Known, table: Table, address: int, words: Words) -> Iterator[tuple[Source, float]]:
    """Yield the sources at one place, unscaled, as far as registers were read there."""
    if (table, address) not in words:
        return
    value = known.value
    if table.has_bits:
        if value in {0, 1}:
            yield Source(0, table, address, ValueType.BOOL), 0.0
    elif isinstance(value, bool):
        for bit in range(16):
            yield Source(0, table, address, ValueType.BOOL, bit=bit), _BIT_DOUBT + bit / 16
    elif isinstance(value, str):
        yield from _texts(value, table, address)
        if known.time is not None:
            yield from _times(table, address)
    else:
        yield from _numbers(table, address)
        if isinstance(value, int) and len(str(value)) >= _LEAST_TEXT:  # a serial number may be a text
            yield from ((source, doubt + 6.0) for source, doubt in _texts(str(value), table, address))


def _numbers(table: Table, address: int) -> Iterator[tuple[Source, float]]:
    for kind, doubt in _TYPE_DOUBT.items():
        if kind.bits == _HALF_REGISTER:
            yield Source(0, table, address, kind), doubt
            yield Source(0, table, address, kind, high_byte=True), doubt + 1.0
            continue
        for order in ByteOrder if kind.registers > 1 else _SINGLE_ORDERS:
            if address + kind.registers <= ADDRESSES:
                yield Source(0, table, address, kind, order), doubt + _ORDER_DOUBT[order]


def _times(table: Table, address: int) -> Iterator[tuple[Source, float]]:
    for kind in ValueType:
        if kind.is_time:
            for order in ByteOrder:
                yield Source(0, table, address, kind, order), _TIME_DOUBT + _ORDER_DOUBT[order]


def _texts(text: str, table: Table, address: int) -> Iterator[tuple[Source, float]]:
    for encoding in (Encoding.UTF_8,) if text.isascii() else (Encoding.UTF_8, Encoding.GBK, Encoding.LATIN_1):
        try:
            size_bytes = len(text.encode(encoding.value))
        except UnicodeEncodeError:
            continue
        least = (size_bytes + 1) // 2
        for order in ByteOrder:
            # Only where all registers are reversed it matters how many there are.
            for registers in range(least, least + (_MORE_REGISTERS if order.is_little else 0) + 1):
                if 2 * registers <= 250 and address + registers <= ADDRESSES:  # noqa: PLR2004 - ``length:`` has that
                    source = Source(
                        0, table, address, ValueType.STRING, order, length_bytes=2 * registers, encoding=encoding
                    )
                    yield source, _TEXT_DOUBT + _ORDER_DOUBT[order]


def _readings(
    known: Known, source: Source, registers: bytes, tolerance: Tolerance
) -> Iterator[tuple[Source, bool | float | str, float]]:
    """Yield the source, with a scale if it needs one, what it reads, and the doubt of that.

    What is likely is told by a quick look at the bytes; what is true, by the decoder that the agent uses.
    """
    if source.value_type.is_number:
        for scale, doubt in _scales(known, source, registers, tolerance):
            scaled = replace(source, scale=scale)
            reading, status = read_again(scaled, registers)
            if status == Quality.GOOD:
                yield scaled, reading, doubt
    elif source.value_type is not ValueType.STRING or source.byte_order.arrange(registers).startswith(
        str(known.value).encode(source.encoding.value)
    ):
        reading, status = read_again(source, registers)
        if status in {Quality.GOOD, Quality.UNCERTAIN} and _is_said(known, source, reading):
            yield source, bool(reading) if source.value_type is ValueType.BOOL else reading, 0.0


def _scales(known: Known, source: Source, registers: bytes, tolerance: Tolerance) -> Iterator[tuple[float, float]]:
    """Yield each scale with which a number is as far from the value as it may be, and its doubt."""
    number, value, most = _number(source, registers), known.value, known.tolerance(tolerance)
    if number is None or isinstance(value, str):
        return
    for scale, doubt in SCALES.items():
        divisor, factor = factor_of(scale)
        distance = abs((number / divisor * factor if scale != 1 else number) - value)
        if distance <= most + 1e-9 * abs(value):
            unusual = _SCALED_FLOAT_DOUBT if source.value_type.data_type.is_float and scale != 1 else 0.0
            far = 0.0 if distance <= known.step or not most else _DISTANCE_DOUBT * distance / most
            yield scale, doubt + unusual + far


def _number(source: Source, registers: bytes) -> float | None:
    """Return the number, unscaled; None if it is none."""
    kind = source.value_type
    body = source.byte_order.arrange(registers)
    if kind.bits == _HALF_REGISTER:
        body = body[:1] if source.high_byte else body[1:]
    number: float = struct.unpack(f">{kind.format_char}", body)[0]
    if kind.is_bcd:
        digits = f"{number:x}"
        return int(digits) if digits.isdecimal() else None
    return number if isfinite(number) else None


def _is_said(known: Known, source: Source, reading: object) -> bool:
    if source.value_type.is_time:
        time = known.time
        read = datetime.fromisoformat(str(reading).removesuffix("Z")[:26]).replace(tzinfo=UTC)
        return time is not None and abs(read - time) <= _CLOCK_TOLERANCE
    if source.value_type is ValueType.STRING:
        return reading == str(known.value)
    return reading == known.value


def whole_values(known: Known, words: Words) -> Iterator[tuple[Table, int, int]]:
    """Yield what to ask for besides, as table, address and count: some devices give no part of a value."""
    for _, table, address, _ in places(known):
        for count in () if table.has_bits else _VALUE_REGISTERS:
            span = range(address, min(ADDRESSES, address + count))
            if any((table, at) not in words for at in span):
                yield table, address, len(span)


def windows(known: Iterable[Known]) -> dict[Table, tuple[tuple[int, int], ...]]:
    """Return what has to be read to judge, by table: first address and the one behind, joined where they touch."""
    wanted: dict[Table, list[tuple[int, int]]] = {}
    for one in known:
        for _, table, address, _ in places(one):
            wanted.setdefault(table, []).append((address, min(ADDRESSES, address + registers_of(one))))
    joined: dict[Table, tuple[tuple[int, int], ...]] = {}
    for table, spans in wanted.items():
        merged: list[tuple[int, int]] = []
        for first, end in sorted(spans):
            if merged and first <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((first, end))
        joined[table] = tuple(merged)
    return joined
