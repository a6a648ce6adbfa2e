"""Whatever a row holds, each reading is in the message once, in order, under its name, at its place ``k``."""

import json
import math
from array import array
from base64 import b64encode
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.model import (
    Column,
    DataType,
    DeviceId,
    Point,
    PointName,
    PointTable,
    Quality,
    ReadingBatch,
    ReadingClass,
    is_bad,
)
from edge_agent.outbox.rows import Row
from edge_agent.publish.json_encoder import encode_row

T_NS = 1_795_420_800_000_000_000
DEVICE = DeviceId("d")
TABLE = PointTable(DEVICE, tuple(Point(PointName(f"p{k}")) for k in range(6)))
STATUSES = st.sampled_from([0, 0, 0, Quality.UNCERTAIN, Quality.BAD, Quality.BAD_TIMEOUT])
VALUES: dict[DataType, st.SearchStrategy[Any]] = {
    DataType.BOOL: st.integers(0, 1),
    DataType.INT16: st.integers(-(2**15), 2**15 - 1),
    DataType.INT64: st.integers(-(2**63), 2**63 - 1),
    DataType.UINT64: st.integers(0, 2**64 - 1),
    DataType.FLOAT32: st.floats(width=32),
    DataType.FLOAT64: st.floats(),
    DataType.STRING: st.text(),
    DataType.BYTES: st.binary(),
}


@st.composite
def columns(draw: st.DrawFn) -> Column:
    data_type = draw(st.sampled_from([DataType.NULL, *VALUES]))
    indexes = draw(st.lists(st.integers(0, 5), max_size=6, unique=draw(st.booleans())))
    size = len(indexes)
    if data_type is DataType.NULL:
        return Column.bad(indexes, Quality.BAD_NO_COMMUNICATION)
    values: Any = draw(st.lists(VALUES[data_type], min_size=size, max_size=size))
    if data_type.typecode:
        values = array(data_type.typecode, values)
    statuses = draw(st.none() | st.lists(STATUSES, min_size=size, max_size=size))
    offsets = draw(st.none() | st.lists(st.integers(-(10**12), 10**12), min_size=size, max_size=size))
    lag = st.just(0) | st.integers(-2_000, 2_000) | st.integers(-(10**18), 10**18)
    lags = draw(st.none() | st.lists(lag, min_size=size, max_size=size))
    return Column(
        data_type,
        array("H", indexes),
        values,
        None if statuses is None else array("I", statuses),
        None if offsets is None else array("q", offsets),
        None if lags is None else array("q", lags),
    )


@st.composite
def rows(draw: st.DrawFn) -> Row:
    shapes = draw(st.lists(st.lists(columns(), max_size=3), min_size=1, max_size=4))
    repeated = shapes * draw(st.integers(1, 3))
    times_ns = [T_NS + k * 1_000_000 + draw(st.integers(-500, 500)) for k in range(len(repeated))]
    batches = tuple(ReadingBatch(DEVICE, t, tuple(c)) for t, c in zip(times_ns, repeated, strict=True))
    count = sum(map(len, batches))
    return Row("e", 1, TABLE, ReadingClass.EVENT, count, T_NS, T_NS, batches, historical=False, body_bytes=1)


def one_by_one(row: Row) -> dict[str, list[tuple[Any, int, int, int]]]:
    """The slow and obvious way: a list of (value, dt_us, lag_us, status) for each point."""
    found: dict[str, list[tuple[Any, int, int, int]]] = {}
    for batch in row.batches:
        for column in batch.columns:
            for k, index in enumerate(column.points):
                status = 0 if column.statuses is None else column.statuses[k]
                time_ns = batch.time_ns + (0 if column.offsets_ns is None else column.offsets_ns[k])
                server_ns = time_ns + (0 if column.lags_ns is None else column.lags_ns[k])
                dt_us = time_ns // 1000 - row.t_first_ns // 1000
                lag_us = server_ns // 1000 - time_ns // 1000
                raw: Any = None if column.values is None else column.values[k]
                value, status = written(column.data_type, raw, status)
                found.setdefault(TABLE.names[index], []).append((value, dt_us, lag_us, status))
    return found


def written(data_type: DataType, raw: Any, status: int) -> tuple[Any, int]:
    if raw is None or is_bad(status):
        return None, status
    is_odd_number = isinstance(raw, float) and not math.isfinite(raw)
    if is_odd_number or (isinstance(raw, str) and any("\ud800" <= char <= "\udfff" for char in raw)):
        return None, Quality.BAD_ENCODING_ERROR
    if isinstance(raw, bytes):
        return b64encode(raw).decode(), status
    if data_type is DataType.BOOL:
        return bool(raw), status
    if isinstance(raw, int) and abs(raw) > 2**53:
        return str(raw), status
    return shortest(raw) if data_type is DataType.FLOAT32 else raw, status


def shortest(value: float) -> float:
    decimals = (float(f"{value:.{digits}g}") for digits in (7, 8, 9))
    return next(decimal for decimal in decimals if array("f", [decimal])[0] == value)


@settings(max_examples=300, deadline=None)
@given(rows())
def test_a_row_becomes_what_its_readings_are_one_by_one(row: Row) -> None:
    decoded = json.loads(encode_row(row))["points"]
    found = {
        name: list(
            zip(p["v"], p["dt_us"], *(p.get(key, [0] * len(p["v"])) for key in ("lag_us", "q")), strict=True)
        )
        for name, p in decoded.items()
    }
    assert found == one_by_one(row)
    assert all(any(p.get(key, [1])) for key in ("lag_us", "q") for p in decoded.values())


@settings(max_examples=50, deadline=None)
@given(rows())
def test_a_row_that_is_sent_again_gives_the_same_lists(row: Row) -> None:
    again = Row(
        row.epoch,
        row.id,
        PointTable.from_json(TABLE.to_json()),
        row.reading_class,
        row.count,
        row.t_first_ns,
        row.t_last_ns,
        tuple(
            ReadingBatch(b.device, b.time_ns, tuple(c.take(range(len(c))) for c in b.columns)) for b in row.batches
        ),
        historical=True,
        body_bytes=1,
    )
    assert json.loads(encode_row(again))["points"] == json.loads(encode_row(row))["points"]
