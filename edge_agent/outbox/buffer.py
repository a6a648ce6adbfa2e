"""Readings that wait for the next commit, sorted into rows by device and class. Pure; lives on the loop."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from edge_agent.model import Column, DataType, DeviceId, PointTable, ReadingBatch, ReadingClass

ROW_READINGS = 1000
"""A row that has readings takes no further batch beyond this."""

MAX_ROW_READINGS = 4000
MAX_ROW_BYTES = 1024 * 1024
"""A batch beyond either is split, so that one row is never more than a lease can carry."""

MAX_COMMIT_BYTES = 4 * 1024 * 1024
"""One commit takes no more than this, so that a buffer that has filled up is tried, and written, in pieces."""

LOWEST_FIRST = tuple(reversed(ReadingClass))
BATCH_BYTES = 400
"""What the objects round the values of a batch take, besides ``size_bytes``; measured with CPython 3.11."""

_MAX_PLANS = 1024
_INT64 = range(-(2**63), 2**63)


@dataclass(slots=True, eq=False)
class PendingRow:
    """A row that has no id yet.

    Attributes:
        anchor: as in ``Row``.
        is_historical: all of its readings are.
        size_bytes: what its readings take in memory, roughly.
    """

    table: PointTable
    reading_class: ReadingClass
    anchor: int | None = None
    is_historical: bool = False
    batches: list[ReadingBatch] = field(default_factory=list)
    count: int = 0
    size_bytes: int = 0

    @property
    def memory_bytes(self) -> int:
        """What it takes, objects included."""
        return self.size_bytes + BATCH_BYTES * len(self.batches)

    def time_span(self) -> tuple[int, int]:
        """Return when its first and its last reading were taken, ns."""
        firsts, lasts = [], []
        for batch in self.batches:
            for column in batch.columns:
                low, high = (min(column.offsets_ns), max(column.offsets_ns)) if column.offsets_ns else (0, 0)
                firsts.append(batch.time_ns + low)
                lasts.append(batch.time_ns + high)
        return max(min(firsts), _INT64.start), min(max(lasts), _INT64.stop - 1)


_Plan = dict[ReadingClass, list[int] | None]
"""Which positions of a list of points belong to which class; None = all of them."""


class Buffer:
    """Sorts batches into rows and hands them to a commit, once or, if that fails, again.

    Attributes:
        readings: how many wait, those that a commit is just writing included.
        size_bytes: their size.
        new_bytes: size of what no commit has tried yet.
        memory_bytes: what all of it takes, objects included.
    """

    def __init__(self) -> None:
        self.readings = 0
        self.size_bytes = 0
        self.new_bytes = 0
        self.memory_bytes = 0
        self._rows: list[PendingRow] = []
        self._taken: list[PendingRow] = []
        self._open: dict[tuple[DeviceId, ReadingClass, bool], PendingRow] = {}
        self._plans: dict[int, tuple[PointTable, array[int], _Plan]] = {}

    def __len__(self) -> int:
        return len(self._rows) + len(self._taken)

    def add(self, table: PointTable, batch: ReadingBatch, anchor: int | None = None) -> bool:
        """Put the readings of ``batch`` behind what is there; return whether one of them is an alarm.

        A row holds readings of one anchor.

        Raises:
            ValueError: the batch is not well formed (a bug of the driver); nothing of it was taken.
        """
        if batch.device != table.device or batch.time_ns not in _INT64:
            raise ValueError(f"batch of {batch.device} at {batch.time_ns} does not fit table of {table.device}")
        for column in batch.columns:
            _check(column)
        parts = self._by_class(table, batch)
        for reading_class, part in parts:
            for piece in _pieces(part):
                self._put(table, reading_class, piece, anchor)
        return any(reading_class is ReadingClass.ALARM for reading_class, _ in parts)

    def take(self) -> Sequence[PendingRow]:
        """Return the oldest rows, those of a failed commit first; call ``settle`` or ``fail`` when it has ended.

        All of them, unless that is more than a commit should take.
        """
        room_bytes = MAX_COMMIT_BYTES - sum(row.size_bytes for row in self._taken)
        count = 0
        for row in self._rows:
            if room_bytes <= 0:
                break
            room_bytes -= row.size_bytes
            count += 1
        self._taken += self._rows[:count]
        del self._rows[:count]
        self.new_bytes = sum(row.size_bytes for row in self._rows)
        waiting = set(map(id, self._rows))
        self._open = {key: row for key, row in self._open.items() if id(row) in waiting}
        return self._taken

    def settle(self) -> None:
        """Forget what the last ``take`` returned."""
        self._forget(self._taken)
        self._taken = []

    def fail(self) -> None:
        """What the last ``take`` returned waits on, and takes further readings as if nothing had been."""
        self._rows = self._taken + self._rows
        self._taken = []
        self._open = {(row.table.device, row.reading_class, row.is_historical): row for row in self._rows}

    def shed(self, limit_bytes: int) -> list[PendingRow]:
        """Give up rows until ``limit_bytes`` of memory hold the rest: the lowest class first, then the oldest.

        What a commit is writing at the moment stays. A sixteenth is given up at once, for few losses to note.
        """
        if self.memory_bytes <= limit_bytes:
            return []
        shed: list[PendingRow] = []
        left_bytes = self.memory_bytes - limit_bytes + limit_bytes // 16
        for reading_class in LOWEST_FIRST:
            for row in self._rows:
                if left_bytes > 0 and row.reading_class is reading_class:
                    shed.append(row)
                    left_bytes -= row.memory_bytes
        gone = set(map(id, shed))
        self._rows = [row for row in self._rows if id(row) not in gone]
        self._open = {key: row for key, row in self._open.items() if id(row) not in gone}
        self.new_bytes = max(0, self.new_bytes - sum(row.size_bytes for row in shed))
        self._forget(shed)
        return shed

    def _forget(self, rows: Sequence[PendingRow]) -> None:
        self.readings -= sum(row.count for row in rows)
        self.size_bytes -= sum(row.size_bytes for row in rows)
        self.memory_bytes -= sum(row.memory_bytes for row in rows)

    def _put(
        self, table: PointTable, reading_class: ReadingClass, batch: ReadingBatch, anchor: int | None
    ) -> None:
        count, size_bytes = len(batch), _size_bytes(batch)
        key = (table.device, reading_class, batch.historical)
        row = self._open.get(key)
        if (
            row is None
            or row.table is not table
            or row.anchor != anchor
            or row.count + count > ROW_READINGS
            or row.size_bytes + size_bytes > MAX_ROW_BYTES
        ):
            row = self._open[key] = PendingRow(table, reading_class, anchor, batch.historical)
            self._rows.append(row)
        row.batches.append(batch)
        row.count += count
        row.size_bytes += size_bytes
        self.readings += count
        self.size_bytes += size_bytes
        self.memory_bytes += size_bytes + BATCH_BYTES
        self.new_bytes += size_bytes

    def _by_class(self, table: PointTable, batch: ReadingBatch) -> list[tuple[ReadingClass, ReadingBatch]]:
        plans = [self._plan(table, column.points) for column in batch.columns]
        classes = set().union(*plans)
        if len(classes) == 1 and all(plans):
            return [(classes.pop(), replace(batch, refused=frozenset()) if batch.refused else batch)]
        parts = []
        for reading_class in ReadingClass:
            columns = tuple(
                column if (positions := plan[reading_class]) is None else column.take(positions)
                for column, plan in zip(batch.columns, plans, strict=True)
                if reading_class in plan
            )
            if columns:
                parts.append((reading_class, replace(batch, columns=columns, refused=frozenset())))
        return parts

    def _plan(self, table: PointTable, points: "array[int]") -> _Plan:
        """Compile how to split a list of points; remembered by identity, for drivers never change a list."""
        known = self._plans.get(id(points))
        if known is not None and known[0] is table and known[1] is points:
            return known[2]
        if points and max(points) >= len(table.points):
            raise ValueError(f"{table.device} has {len(table.points)} points, a reading names {max(points)}")
        plan: _Plan = {}
        if table.single_class is not None:
            plan = {table.single_class: None} if points else {}
        else:
            for position, index in enumerate(points):
                positions = plan.setdefault(table.points[index].reading_class, [])
                assert positions is not None  # noqa: S101 - for the type checker
                positions.append(position)
            if len(plan) == 1:
                plan = dict.fromkeys(plan)
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        self._plans[id(points)] = (table, points, plan)
        return plan


def _check(column: Column) -> None:
    """Refuse what could not be written: a bad column must not spoil the commit of the others."""
    count, values, typecode = len(column.points), column.values, column.data_type.typecode
    if isinstance(values, array):
        is_sound = bool(typecode) and values.typecode == typecode and len(values) == count
    elif values is None:
        is_sound = column.data_type is DataType.NULL
    else:
        kind = {DataType.STRING: str, DataType.BYTES: bytes}.get(column.data_type)
        is_sound = kind is not None and len(values) == count and all(isinstance(v, kind) for v in values)
    is_sound = is_sound and column.points.typecode == "H"
    for sequence, code in ((column.statuses, "I"), (column.offsets_ns, "q"), (column.lags_ns, "q")):
        is_sound = is_sound and (sequence is None or (sequence.typecode == code and len(sequence) == count))
    if not is_sound:
        raise ValueError(f"malformed {column.data_type.word} column of {count} readings")


def _reading_bytes(column: Column) -> int:
    """Return what one reading takes, without the contents of strings and bytes."""
    fixed = column.values.itemsize if isinstance(column.values, array) else 4
    times = (column.offsets_ns is not None) + (column.lags_ns is not None)
    return 2 + fixed + 4 * (column.statuses is not None) + 8 * times


def _size_bytes(batch: ReadingBatch) -> int:
    size_bytes = 16
    for column in batch.columns:
        size_bytes += len(column) * _reading_bytes(column)
        if isinstance(column.values, list):
            size_bytes += sum(map(len, column.values))
    return size_bytes


def _pieces(batch: ReadingBatch) -> Iterator[ReadingBatch]:
    if len(batch) <= MAX_ROW_READINGS and _size_bytes(batch) <= MAX_ROW_BYTES:
        yield batch
        return
    for column in batch.columns:
        for part in _parts(column):
            yield replace(batch, columns=(column.take(part),))


def _parts(column: Column) -> Iterator[range]:
    """Yield the positions that go into one row each."""
    count, fixed = len(column), _reading_bytes(column)
    if not isinstance(column.values, list):
        step = min(MAX_ROW_READINGS, MAX_ROW_BYTES // fixed)
        yield from (range(start, min(start + step, count)) for start in range(0, count, step))
        return
    ends = list(accumulate((fixed + len(value) for value in column.values), initial=0))
    start = 0
    for position in range(1, count + 1):
        is_last = position == count
        if is_last or position - start == MAX_ROW_READINGS or ends[position + 1] - ends[start] > MAX_ROW_BYTES:
            yield range(start, position)
            start = position
