"""From the data bytes of one reply to columns. Compiled once for each request; pure.

The four byte orders are two choices, *swap the pairs of the payload first* and *read little-endian*, and one
``struct.Struct`` reads all the numbers of one order in a block. What is more than a plain number (``convert``)
costs a call for each reading; its neighbours in the column pay nothing for it.
"""

import struct
from array import array
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import replace
from math import isfinite
from operator import itemgetter
from typing import Any

from edge_agent.model import Column, DataType, Quality
from edge_agent_modbus.convert import compile_conversion
from edge_agent_modbus.source import ByteOrder, Source, ValueType, factor_of, swap_pairs

__all__ = ["ByteOrder", "Decoder", "Source", "ValueType", "compile_decoder", "join_columns"]

_BITS_OF_BYTE = tuple(bytes(byte >> bit & 1 for bit in range(8)) for byte in range(256))  # §6.1: LSB first


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
        swapped = swap_pairs(payload)
        raw: tuple[Any, ...] = ()
        for swaps, block in structs:
            raw += block.unpack(swapped if swaps else payload)
        return raw

    return unpack, place, len(positions)


def _layout(source: Source) -> tuple[bool, bool]:
    if source.value_type.format_char == "s":
        return False, False  # put in order when it is converted
    return source.byte_order.swaps_pairs, source.byte_order.is_little


def _field(source: Source, address: int) -> tuple[int, str]:
    """Return where the field of a source begins in the payload, in bytes, and its struct format."""
    kind, offset_bytes = source.value_type, 2 * (source.address - address)
    if kind.format_char == "s":
        return offset_bytes, f"{2 * source.size}s"
    if kind in {ValueType.INT8, ValueType.UINT8} and not source.high_byte:
        return offset_bytes + 1, kind.format_char
    return offset_bytes, kind.format_char


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
    special = [(at, compile_conversion(source)) for at, source in enumerate(sources) if not source.is_plain]
    if not special:
        return _compile_plain(data_type, points, sources, take)
    build = _compile_plain(
        data_type, points, [s if s.is_plain else _converted(s) for s in sources], lambda raw: raw
    )

    def convert(raw: _Raw) -> Column:
        values = list(take(raw))
        statuses = None
        for position, conversion in special:
            values[position], status = conversion(values[position])
            if status:
                statuses = statuses or array("I", bytes(4 * len(values)))
                statuses[position] = status
        column = build(values)
        return column if statuses is None else replace(column, statuses=_worse(column.statuses, statuses))

    return convert


def _converted(source: Source) -> Source:
    return replace(source, scale=1.0, offset=0.0)


def _worse(one: "array[int] | None", other: "array[int]") -> "array[int]":
    return other if one is None else array("I", map(max, one, other))  # Good < Uncertain < Bad


def _compile_plain(data_type: DataType, points: "array[int]", sources: Sequence[Source], take: _Take) -> _Build:
    if data_type in {DataType.STRING, DataType.BYTES}:
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
        terms = [(*factor_of(source.scale), source.offset) for source in sources]

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


def _float_column(data_type: DataType, points: "array[int]", values: "array[float]") -> Column:
    """Return the column; NaN and infinities are Bad: they are not numbers that anybody measured."""
    if isfinite(sum(values)):
        return Column(data_type, points, values)
    statuses = array("I", [Quality.GOOD if isfinite(value) else Quality.BAD_OUT_OF_RANGE for value in values])
    return Column(data_type, points, values, statuses if any(statuses) else None)


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
