"""Rows of the outbox as JSON, schema ``edge.data/1`` (``schema/edge.data-1.json``). Pure.

The identity of a reading is gateway, epoch, row, point and ``k``, its position in ``v``. So a row must give the
same lists each time that it is encoded: the order of ``v`` is the order of acquisition in the row and depends on
nothing else. Which rows share a message, and the ``historical`` mark, may differ from one sending to the next.
"""

from array import array
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import repeat
from math import isfinite
from operator import add
from typing import Any

import msgspec

from edge_agent.model import Column, DataType, PointName, is_bad
from edge_agent.model.quality import Quality
from edge_agent.outbox.rows import Row

SCHEMA = "edge.data/1"
GAP_SCHEMA = "edge.gap/1"
LARGEST_NUMBER = 2**53
"""Integers beyond it are written as strings: many readers hold numbers as binary64 (RFC 8259 §6)."""

_1970 = datetime(1970, 1, 1, tzinfo=UTC)
_encoder = msgspec.json.Encoder()


def iso_time(time_us: int) -> str:
    """Return ISO 8601 in UTC with microseconds, such as ``2026-11-23T08:00:00.000000Z``."""
    time = _1970 + timedelta(microseconds=time_us)
    return time.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def encode_head(gateway: str, device: str, code: str | None, epoch: str) -> bytes:
    """Return the beginning of a message, up to its rows; ``code`` is left out where there is none."""
    head = {"schema": SCHEMA, "gateway": gateway, "device": device, "code": code, "epoch": epoch}
    if code is None:
        del head["code"]
    return _encoder.encode(head)[:-1] + b',"rows":['


def encode_message(head: bytes, rows: Sequence[bytes]) -> bytes:
    """Return the message of encoded rows, all of the device and epoch that ``head`` was made for."""
    return head + b",".join(rows) + b"]}"


def encode_row(row: Row) -> bytes:
    """Return one row as a JSON object, an element of ``rows``."""
    t_us = row.t_first_ns // 1000
    return _encoder.encode(
        {
            "row": row.id,
            "class": row.reading_class.value,
            "historical": row.historical,
            "t": iso_time(t_us),
            "points": _points(row, t_us),
        }
    )


def encode_gap(gateway: str, code: str | None, row: Row) -> bytes:
    """Return the message of a gap record, schema ``edge.gap/1`` (``schema/edge.gap-1.json``).

    Raises:
        ValueError: the row is not a gap record.
    """
    gap = row.gap
    if gap is None:
        raise ValueError(f"row {row.id} is not a gap record")
    body: dict[str, object] = {"schema": GAP_SCHEMA, "gateway": gateway, "device": row.table.device}
    if code is not None:
        body["code"] = code
    body |= {
        "epoch": row.epoch,
        "row": row.id,
        "reason": gap.reason.value,
        "class": gap.reading_class,
        "from": iso_time(gap.t_first_ns // 1000),
        "to": iso_time(gap.t_last_ns // 1000),
        "readings": gap.readings,
        "rows": gap.rows,
    }
    if gap.points:
        body["points"] = list(gap.points)
    if gap.row_first:
        body["missing"] = {"epoch": gap.epoch, "first": gap.row_first, "last": gap.row_last}
    return _encoder.encode(body)


@dataclass(slots=True)
class _Block:
    """The columns of a row that have the same points: a line for each column, a place in it for each point."""

    points: "array[int]"
    times_us: list[int] = field(default_factory=list)
    values: list[Sequence[object]] = field(default_factory=list)
    statuses: list[Sequence[int] | None] = field(default_factory=list)
    offsets_us: list[Sequence[int] | None] = field(default_factory=list)
    lags_us: list[Sequence[int] | None] = field(default_factory=list)


def _points(row: Row, t_us: int) -> dict[PointName, dict[str, object]]:
    blocks: dict[bytes, _Block] = {}
    lines: list[tuple[_Block, int]] = []  # in acquisition order
    for batch in row.batches:
        time_us = batch.time_ns // 1000 - t_us
        for column in batch.columns:
            key = column.points.tobytes()
            block = blocks.get(key)
            if block is None:
                block = blocks[key] = _Block(column.points)
            values, statuses = _values(column)
            lines.append((block, len(block.values)))
            block.times_us.append(time_us)
            block.values.append(values)
            block.statuses.append(statuses)
            block.offsets_us.append(offsets_us := _offsets_us(column, batch.time_ns, t_us))
            block.lags_us.append(_lags_us(column, batch.time_ns, t_us, offsets_us or repeat(time_us)))
    names = row.table.names
    points: dict[PointName, dict[str, object]] = {}
    if _each_point_once(blocks.values()):
        for block in blocks.values():
            _transpose(block, names, points)
    else:
        points = _append_each(lines, names)
    units = row.table.units
    return {name: {"unit": units[name], **lists} if name in units else lists for name, lists in points.items()}


def _each_point_once(blocks: Iterable[_Block]) -> bool:
    seen: set[int] = set()
    total = 0
    for block in blocks:
        seen.update(block.points)
        total += len(block.points)
    return len(seen) == total


def _transpose(block: _Block, names: Sequence[PointName], points: dict[PointName, dict[str, object]]) -> None:
    """Turn lines into one list for each point; polled batches repeat their points, so this is the usual way."""
    times_us = block.times_us
    size = len(block.points)
    named = map(names.__getitem__, block.points)
    columns = zip(*block.values, strict=True)
    if any(block.offsets_us):
        lines = [o or [t] * size for o, t in zip(block.offsets_us, times_us, strict=True)]
        for name, v, dt_us in zip(named, columns, zip(*lines, strict=True), strict=True):
            points[name] = {"v": v, "dt_us": dt_us}
    else:
        for name, v in zip(named, columns, strict=True):
            points[name] = {"v": v, "dt_us": times_us}
    nothing = [0] * size
    for key, beside in (("lag_us", block.lags_us), ("q", block.statuses)):
        if any(beside):
            named = map(names.__getitem__, block.points)
            for name, told in zip(named, zip(*(line or nothing for line in beside), strict=True), strict=True):
                if any(told):
                    points[name][key] = told


def _append_each(
    lines: Sequence[tuple[_Block, int]], names: Sequence[PointName]
) -> dict[PointName, dict[str, object]]:
    """Go through a row reading by reading: some point is in several blocks, or twice in one."""
    lists: dict[int, tuple[list[object], list[int], list[int]]] = {}
    for block, line in lines:
        offsets_us = block.offsets_us[line] or repeat(block.times_us[line])
        statuses = block.statuses[line] or repeat(0)
        for index, value, dt_us, status in zip(
            block.points, block.values[line], offsets_us, statuses, strict=False
        ):
            entry = lists.get(index)
            if entry is None:
                entry = lists[index] = ([], [], [])
            entry[0].append(value)
            entry[1].append(dt_us)
            entry[2].append(status)
    all_lags_us = _lags_of_each(lines)
    points: dict[PointName, dict[str, object]] = {}
    for index, (v, times_us, q) in lists.items():
        told: dict[str, object] = {"v": v, "dt_us": times_us}
        points[names[index]] = told
        lags_us = all_lags_us.get(index, ())
        if any(lags_us):
            told["lag_us"] = lags_us
        if any(q):
            told["q"] = q
    return points


def _lags_of_each(lines: Iterable[tuple[_Block, int]]) -> dict[int, list[int]]:
    lags_us: dict[int, list[int]] = {}
    if any(block.lags_us[line] for block, line in lines):
        for block, line in lines:
            for index, lag_us in zip(block.points, block.lags_us[line] or repeat(0), strict=False):
                lags_us.setdefault(index, []).append(lag_us)
    return lags_us


def _offsets_us(column: Column, time_ns: int, t_us: int) -> list[int] | None:
    if column.offsets_ns is None:
        return None
    return [(time_ns + offset_ns) // 1000 - t_us for offset_ns in column.offsets_ns]


def _lags_us(column: Column, time_ns: int, t_us: int, offsets_us: Iterable[int]) -> list[int] | None:
    if column.lags_ns is None:
        return None
    lags_ns: Iterable[int] = column.lags_ns
    if column.offsets_ns is not None:
        lags_ns = map(add, column.offsets_ns, lags_ns)
    return [
        (time_ns + lag_ns) // 1000 - t_us - from_us for lag_ns, from_us in zip(lags_ns, offsets_us, strict=False)
    ]


def _values(column: Column) -> tuple[Sequence[object], Sequence[int] | None]:
    """Return what JSON can say of the values, null where it cannot or the reading is Bad, and the statuses."""
    values, unwritable = _writable(column)
    statuses: Sequence[int] | None = column.statuses
    if statuses is not None and any(map(is_bad, statuses)):
        values = [None if is_bad(status) else value for value, status in zip(values, statuses, strict=True)]
    if unwritable:
        values, statuses = list(values), list(statuses or repeat(0, len(column)))
        for k in unwritable:
            values[k] = None
            if not is_bad(statuses[k]):
                statuses[k] = Quality.BAD_ENCODING_ERROR
    return values, statuses


def _writable(column: Column) -> tuple[Sequence[object], list[int]]:
    """Return the values as JSON writes them, and the positions of those that it cannot write."""
    raw: Any = column.values
    data_type = column.data_type
    if data_type is DataType.NULL:
        return [None] * len(column), []
    if data_type is DataType.STRING:
        return raw, _not_unicode(raw)
    if data_type.is_float:
        # One sum tells whether any is NaN or infinite; a sum that overflows only costs the closer look.
        infinite = [] if isfinite(sum(raw)) else [k for k, value in enumerate(raw) if not isfinite(value)]
        return (_shortest(raw) if data_type is DataType.FLOAT32 else raw), infinite
    convert = _CONVERT.get(data_type)
    return (raw if convert is None else convert(raw)), []


def _shortest(raw: "array[float]") -> Sequence[object]:
    """Return each 32-bit float as the shortest decimal that reads back as it: 61.2, not 61.20000076293945.

    7 digits are enough for most, 9 for all (IEEE 754 §5.12.2); formatted in one piece, for speed.
    """
    values = _rounded(raw, 7)
    for digits in (8, 9):
        if (read_back := array("f", values)) == raw:
            break
        wrong = [k for k, (a, b) in enumerate(zip(read_back, raw, strict=True)) if a != b]
        for k, value in zip(wrong, _rounded([raw[k] for k in wrong], digits), strict=True):
            values[k] = value
    return values


def _rounded(values: Sequence[float], digits: int) -> list[float]:
    return list(map(float, (f"%.{digits}g " * len(values) % tuple(values)).split()))


def _booleans(raw: Any) -> Sequence[object]:
    return list(map(bool, raw))


def _base64(raw: Any) -> Sequence[object]:
    return [b2a_base64(value, newline=False).decode() for value in raw]


def _integers(raw: "array[int]") -> Sequence[object]:
    if raw and (max(raw) > LARGEST_NUMBER or min(raw) < -LARGEST_NUMBER):
        return [str(value) if abs(value) > LARGEST_NUMBER else value for value in raw]
    return raw


def _not_unicode(texts: Sequence[str]) -> list[int]:
    """Return where a text has a lone surrogate: it cannot be written as UTF-8."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return [k for k, text in enumerate(texts) if any("\ud800" <= char <= "\udfff" for char in text)]
    return []


_CONVERT: dict[DataType, Callable[[Any], Sequence[object]]] = {
    DataType.BOOL: _booleans,
    DataType.BYTES: _base64,
    DataType.INT64: _integers,
    DataType.UINT64: _integers,
}
