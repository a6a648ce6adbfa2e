"""How batches become rows: by device and class, joined, and split only where they must be."""

from array import array
from dataclasses import replace
from typing import Any

import pytest

from edge_agent.model import Column, DataType, ReadingBatch, ReadingClass
from edge_agent.outbox import buffer as module
from edge_agent.outbox.buffer import Buffer, PendingRow
from tests.model.outbox_kit import T0_NS, batch, table

MIXED = table("press-01", "a", "b", alarm=ReadingClass.ALARM, count=ReadingClass.COUNTER)
PLAIN = table("press-01", *(f"p{i}" for i in range(3000)))


def points(row: PendingRow) -> list[int]:
    return [index for one in row.batches for column in one.columns for index in column.points]


def wide(count: int, values: Any = None, data_type: DataType = DataType.INT64) -> ReadingBatch:
    column = Column(
        data_type,
        array("H", [i % 3000 for i in range(count)]),
        array("q", range(count)) if values is None else values,
    )
    return ReadingBatch(PLAIN.device, T0_NS, (column,))


def test_readings_go_into_one_row_for_each_device_and_class() -> None:
    buffer, other = Buffer(), table("cnc-07")
    assert buffer.add(MIXED, batch(MIXED, 1, (3, 0, 2, 1))) is True
    assert buffer.add(other, batch(other, 2)) is False
    assert buffer.add(MIXED, batch(MIXED, 3, (1, 0))) is False
    rows = buffer.take()
    assert [(row.table.device, row.reading_class.value, points(row)) for row in rows] == [
        ("press-01", "alarm", [2]),
        ("press-01", "counter", [3]),
        ("press-01", "trend", [0, 1, 1, 0]),
        ("cnc-07", "trend", [0]),
    ]
    assert buffer.readings == sum(row.count for row in rows) == 7


def test_a_batch_of_one_class_is_kept_as_it_is() -> None:
    for of, indexes in ((table(), (0, 1)), (MIXED, (1, 0))):
        buffer, one = Buffer(), batch(of, 1, indexes)
        buffer.add(of, one)
        assert buffer.take()[0].batches[0] is one


def test_splitting_keeps_values_statuses_and_offsets_together() -> None:
    buffer = Buffer()
    both, late = array("q", [5, 6]), array("q", [7, 8])
    column = Column(DataType.STRING, array("H", [2, 0]), ["x", "y"], array("I", [1, 2]), both, late)
    buffer.add(MIXED, ReadingBatch(MIXED.device, T0_NS, (column,), frozenset({0})))
    alarm, trend = (row.batches[0].columns[0] for row in buffer.take())
    assert (alarm.values, alarm.statuses, alarm.offsets_ns) == (["x"], array("I", [1]), array("q", [5]))
    assert (trend.values, trend.statuses, trend.offsets_ns) == (["y"], array("I", [2]), array("q", [6]))
    assert (alarm.lags_ns, trend.lags_ns) == (array("q", [7]), array("q", [8]))


def test_what_the_device_refused_is_not_kept() -> None:
    buffer = Buffer()
    buffer.add(PLAIN, ReadingBatch(PLAIN.device, 1, (Column.bad([1], 0x80000000),), frozenset({1})))
    assert buffer.take()[0].batches[0].refused == frozenset()


def test_a_row_is_closed_before_it_is_over_the_target() -> None:
    buffer = Buffer()
    for _ in range(5):
        buffer.add(PLAIN, wide(400))
    assert [row.count for row in buffer.take()] == [800, 800, 400]


def test_a_batch_is_split_only_when_a_row_could_not_hold_it() -> None:
    buffer = Buffer()
    buffer.add(PLAIN, wide(4000))
    buffer.add(PLAIN, wide(9000))
    rows = buffer.take()
    assert [row.count for row in rows] == [4000, 4000, 4000, 1000]
    joined = [value for row in rows[1:] for one in row.batches for value in one.columns[0].values or ()]
    assert joined == list(range(9000))


def test_long_texts_are_split_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROW_BYTES", 1000)
    buffer, texts = Buffer(), ["x" * 400, "y" * 400, "z" * 400, "w" * 5000, "v"]
    buffer.add(PLAIN, wide(5, texts, DataType.STRING))
    pieces = [list(one.columns[0].values or ()) for row in buffer.take() for one in row.batches]
    assert pieces == [texts[:2], texts[2:3], texts[3:4], texts[4:]]


def test_what_is_split_keeps_its_times() -> None:
    buffer, count = Buffer(), 9000
    offsets_ns, lags_ns = array("q", range(count)), array("q", range(count, 0, -1))
    (column,) = wide(count).columns
    buffer.add(
        PLAIN, ReadingBatch(PLAIN.device, T0_NS, (replace(column, offsets_ns=offsets_ns, lags_ns=lags_ns),))
    )
    pieces = [one.columns[0] for row in buffer.take() for one in row.batches]
    assert len(pieces) > 1
    assert sum((piece.offsets_ns or array("q") for piece in pieces), array("q")) == offsets_ns
    assert sum((piece.lags_ns or array("q") for piece in pieces), array("q")) == lags_ns


def test_times_count_as_what_they_take() -> None:
    points, values, times_ns = array("H", range(10)), array("q", range(10)), array("q", range(10))
    sizes = []
    for offsets_ns, lags_ns in ((None, None), (times_ns, None), (times_ns, times_ns)):
        buffer = Buffer()
        column = Column(DataType.INT64, points, values, None, offsets_ns, lags_ns)
        buffer.add(PLAIN, ReadingBatch(PLAIN.device, 1, (column,)))
        sizes.append(buffer.size_bytes)
    assert sizes == [sizes[0], sizes[0] + 80, sizes[0] + 160]


def test_a_change_of_the_table_begins_a_row() -> None:
    buffer, new = Buffer(), table("press-01", "b", "a")
    old = table("press-01", "a", "b")
    for of in (old, old, new):
        buffer.add(of, batch(of, 1))
    assert [row.table.names for row in buffer.take()] == [("a", "b"), ("b", "a")]


def test_an_empty_batch_is_nothing() -> None:
    buffer = Buffer()
    buffer.add(MIXED, batch(MIXED, 1, ()))
    buffer.add(PLAIN, ReadingBatch(PLAIN.device, 1, ()))
    assert (len(buffer), buffer.readings, list(buffer.take())) == (0, 0, [])


def test_a_failed_commit_gets_the_same_rows_again_in_front() -> None:
    buffer, of = Buffer(), table()
    buffer.add(of, batch(of, 1))
    first = list(buffer.take())
    buffer.add(of, batch(of, 2))
    assert buffer.new_bytes < buffer.size_bytes
    again = list(buffer.take())
    assert again[:1] == first
    assert len(again) == 2
    buffer.add(of, batch(of, 3))
    buffer.settle()
    assert (len(buffer), buffer.readings, buffer.size_bytes) == (1, 1, buffer.new_bytes)


I, Q, H = array("I", [0]), array("q", [0]), array("H", [0])  # noqa: E741 - typecodes


@pytest.mark.parametrize(
    "column",
    [
        Column(DataType.INT64, H, array("q", [1, 2])),
        Column(DataType.INT64, H, array("d", [1])),
        Column(DataType.INT64, H, None),
        Column(DataType.INT64, H, ["1"]),
        Column(DataType.NULL, H, Q),
        Column(DataType.STRING, H, [b"x"]),
        Column(DataType.STRING, H, Q),
        Column(DataType.STRING, H, []),
        Column(DataType.BYTES, H, ["x"]),
        Column(DataType.INT64, I, Q),
        Column(DataType.INT64, H, Q, array("I", [0, 0])),
        Column(DataType.INT64, H, Q, array("H", [0])),
        Column(DataType.INT64, H, Q, None, array("q")),
        Column(DataType.INT64, H, Q, None, I),
        Column(DataType.INT64, H, Q, None, None, array("q")),
        Column(DataType.INT64, H, Q, None, None, I),
    ],
)
def test_a_malformed_column_is_refused_before_anything_is_taken(column: Column) -> None:
    buffer, sound = Buffer(), Column(DataType.INT64, H, Q)
    with pytest.raises(ValueError, match="malformed"):
        buffer.add(PLAIN, ReadingBatch(PLAIN.device, 1, (sound, column)))
    assert len(buffer) == 0


@pytest.mark.parametrize("time_ns", [2**63, -(2**63) - 1])
def test_a_time_beyond_64_bits_is_refused(time_ns: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Buffer().add(PLAIN, ReadingBatch(PLAIN.device, time_ns, ()))


def test_what_is_remembered_of_lists_of_points_is_bounded() -> None:
    buffer, of = Buffer(), table()
    for number in range(3000):
        buffer.add(of, batch(of, number))
        buffer.take()
        buffer.settle()
    assert len(buffer._plans) <= 1024


def test_the_same_list_of_points_under_another_table_is_split_anew() -> None:
    buffer, shared = Buffer(), array("H", [0, 1])
    for of in (table("press-01", "a", "b"), table("press-01", a=ReadingClass.EVENT, b=ReadingClass.COUNTER)):
        buffer.add(of, ReadingBatch(of.device, 1, (Column(DataType.INT64, shared, array("q", [1, 2])),)))
    assert [row.reading_class.value for row in buffer.take()] == ["trend", "event", "counter"]


def test_after_a_failed_commit_rows_go_on_growing() -> None:
    buffer, of = Buffer(), table()
    for number in range(5):
        buffer.add(of, batch(of, number))
        assert len(buffer.take()) == 1, "not a row for each try"
        buffer.fail()
    assert [one.time_ns - T0_NS for one in buffer.take()[0].batches] == [0, 1, 2, 3, 4]


def test_a_commit_takes_a_piece_of_a_full_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_COMMIT_BYTES", 100)
    buffer = Buffer()
    rows = [table(f"device-{number}") for number in range(10)]
    for of in rows:
        buffer.add(of, batch(of, 1))  # 26 bytes each
    taken = [list(buffer.take())]
    assert list(buffer.take()) == taken[0], "a second try takes the same"
    while taken[-1]:
        buffer.settle()
        taken.append(list(buffer.take()))
    assert [len(piece) for piece in taken] == [4, 4, 2, 0]
    assert [row.table.device for piece in taken for row in piece] == [of.device for of in rows]
    assert (buffer.readings, buffer.size_bytes, buffer.new_bytes, buffer.memory_bytes) == (0, 0, 0, 0)


def test_shedding_gives_up_the_lowest_class_and_then_the_oldest() -> None:
    buffer = Buffer()
    for number in range(60):
        of = table(f"device-{number}", "a", alarm=ReadingClass.ALARM)
        buffer.add(of, batch(of, number, (0, 1)))
    before, limit = buffer.memory_bytes, buffer.memory_bytes * 2 // 3
    shed = buffer.shed(limit)
    assert all(row.reading_class is ReadingClass.TREND for row in shed)
    assert [row.table.device for row in shed] == [f"device-{number}" for number in range(len(shed))]
    assert buffer.memory_bytes == before - sum(row.memory_bytes for row in shed) <= limit
    assert buffer.shed(limit) == []
    shed = buffer.shed(limit // 4)
    assert [row.reading_class.value for row in shed] == ["trend"] * shed.index(shed[-1]) + ["alarm"] or shed
    left = buffer.take()
    assert all(row.reading_class is ReadingClass.ALARM for row in left)
    assert buffer.readings == sum(row.count for row in left)


def test_shedding_leaves_alone_what_a_commit_is_writing() -> None:
    buffer, of = Buffer(), table()
    buffer.add(of, batch(of, 1))
    writing = list(buffer.take())
    buffer.add(of, batch(of, 2))
    (shed,) = buffer.shed(1)
    assert (shed.batches[0].time_ns - T0_NS, buffer.readings) == (2, 1)
    assert list(buffer.take()) == writing
    buffer.add(of, batch(of, 3))  # the row that was given up takes nothing more
    buffer.settle()
    assert [one.time_ns - T0_NS for row in buffer.take() for one in row.batches] == [3]
