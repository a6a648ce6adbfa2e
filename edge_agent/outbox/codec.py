"""The body of a row: batches as columns, little-endian on every machine, compressed. Pure.

Codec 1, before compression by zlib (level 1)::

    u32 point lists, u32 batches
    point lists:  u32 n, n × u16 point index          each list of points once, however many batches use it
    batches:      i64 time_ns, u16 columns
    columns:      u8 data type, u8 flags, u32 point list
                  values, then u32 × n statuses if flags & 1, then i64 × n offsets if flags & 2,
                  then i64 × n lags if flags & 4
    values:       n numbers; for strings and bytes u32 × n lengths, then the bytes; nothing for null

Strings are UTF-8; a lone surrogate, which a driver may have made of bad bytes, survives.
"""

import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from edge_agent.errors import OutboxCorruptError
from edge_agent.model import Column, DataType, DeviceId, ReadingBatch

CODEC = 1
HISTORICAL_CODEC = 3
"""The same, of readings that were fetched after an outage."""

# The position is the number on disk: append only.
_DATA_TYPES = (
    DataType.NULL,
    DataType.BOOL,
    DataType.INT8,
    DataType.UINT8,
    DataType.INT16,
    DataType.UINT16,
    DataType.INT32,
    DataType.UINT32,
    DataType.INT64,
    DataType.UINT64,
    DataType.FLOAT32,
    DataType.FLOAT64,
    DataType.STRING,
    DataType.BYTES,
)
_NUMBERS = {data_type: number for number, data_type in enumerate(_DATA_TYPES)}
_HEADER = struct.Struct("<II")
_LIST = struct.Struct("<I")
_BATCH = struct.Struct("<qH")
_COLUMN = struct.Struct("<BBI")
_STATUSES, _OFFSETS, _LAGS = 1, 2, 4
_IS_BIG_ENDIAN = sys.byteorder == "big"


def checksum(body: bytes) -> int:
    """Return the CRC-32 of a stored body."""
    return zlib.crc32(body)


def encode(batches: Sequence[ReadingBatch]) -> bytes:
    """Return the body for ``batches``; what a device refused is not kept."""
    lists: dict[bytes, int] = {}
    seen: dict[int, int] = {}  # by identity: drivers hand out the same object again and again
    out: list[bytes] = []
    for batch in batches:
        out.append(_BATCH.pack(batch.time_ns, len(batch.columns)))
        for column in batch.columns:
            number = seen.get(id(column.points))
            if number is None:
                number = seen[id(column.points)] = lists.setdefault(_raw(column.points), len(lists))
            flags = (column.statuses is not None) * _STATUSES | (column.offsets_ns is not None) * _OFFSETS
            flags |= (column.lags_ns is not None) * _LAGS
            out.append(_COLUMN.pack(_NUMBERS[column.data_type], flags, number))
            _encode_values(column, out)
            beside = (column.statuses, column.offsets_ns, column.lags_ns)
            out += [_raw(numbers) for numbers in beside if numbers is not None]
    head = [_HEADER.pack(len(lists), len(batches))]
    for points in lists:
        head += _LIST.pack(len(points) // 2), points
    return zlib.compress(b"".join(head + out), 1)


def decode(body: bytes, crc: int, device: DeviceId, point_count: int) -> tuple[ReadingBatch, ...]:
    """Give back what ``encode`` got.

    Args:
        body: as stored.
        crc: the checksum stored with it.
        device: whose readings they are.
        point_count: size of the point table; no reading may name a point beyond it.

    Raises:
        OutboxCorruptError: any byte is not as ``encode`` could have written it.
    """
    if checksum(body) != crc:
        raise OutboxCorruptError("the checksum of the row is wrong")
    try:
        unpacker = zlib.decompressobj()
        scan = _Scan(unpacker.decompress(body))
        if not unpacker.eof or unpacker.unused_data:
            raise OutboxCorruptError("the row is not one whole compressed body")
        list_count, batch_count = scan.unpack(_HEADER)
        lists = [_decode_points(scan, point_count) for _ in range(list_count)]
        batches = tuple(_decode_batch(scan, device, lists) for _ in range(batch_count))
    except (zlib.error, UnicodeDecodeError, IndexError) as exc:
        raise OutboxCorruptError(f"the row cannot be read back: {exc}") from exc
    if not scan.at_end:
        raise OutboxCorruptError("the row is longer than what it says it holds")
    return batches


class _Scan:
    """Takes bytes from the front, and never more than there are."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at == len(self._data)

    def take(self, count: int) -> bytes:
        start, self._at = self._at, self._at + count
        if self._at > len(self._data):
            raise OutboxCorruptError("the row is shorter than what it says it holds")
        return self._data[start : self._at]

    def unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        return form.unpack(self.take(form.size))

    def array(self, typecode: str, count: int) -> "array[Any]":
        values = array(typecode)
        values.frombytes(self.take(count * values.itemsize))
        if _IS_BIG_ENDIAN:
            values.byteswap()
        return values


def _raw(values: "array[Any]") -> bytes:
    if _IS_BIG_ENDIAN:
        values = values[:]
        values.byteswap()
    return values.tobytes()


def _encode_values(column: Column, out: list[bytes]) -> None:
    values = column.values
    if isinstance(values, array):
        out.append(_raw(values))
    elif values is not None:
        texts = [v.encode("utf-8", "surrogatepass") if isinstance(v, str) else v for v in values]
        out.append(_raw(array("I", map(len, texts))))
        out += texts


def _decode_points(scan: _Scan, point_count: int) -> "array[int]":
    points = scan.array("H", scan.unpack(_LIST)[0])
    if points and max(points) >= point_count:
        raise OutboxCorruptError("the row names a point that its table does not have")
    return points


def _decode_batch(scan: _Scan, device: DeviceId, lists: "list[array[int]]") -> ReadingBatch:
    time_ns, column_count = scan.unpack(_BATCH)
    return ReadingBatch(device, time_ns, tuple(_decode_column(scan, lists) for _ in range(column_count)))


def _decode_column(scan: _Scan, lists: "list[array[int]]") -> Column:
    number, flags, list_number = scan.unpack(_COLUMN)
    data_type, points = _DATA_TYPES[number], lists[list_number]
    if flags & ~(_STATUSES | _OFFSETS | _LAGS):
        raise OutboxCorruptError("the row has a column of an unknown kind")
    count = len(points)
    values: Any = None
    if data_type.typecode:
        values = scan.array(data_type.typecode, count)
    elif data_type is not DataType.NULL:
        texts: Iterable[bytes] = [scan.take(length) for length in scan.array("I", count)]
        is_text = data_type is DataType.STRING
        values = [text.decode("utf-8", "surrogatepass") for text in texts] if is_text else texts
    statuses = scan.array("I", count) if flags & _STATUSES else None
    offsets_ns = scan.array("q", count) if flags & _OFFSETS else None
    lags_ns = scan.array("q", count) if flags & _LAGS else None
    return Column(data_type, points, values, statuses, offsets_ns, lags_ns)
