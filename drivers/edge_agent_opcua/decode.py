"""From the bytes of DataValues to columns: numbers by the run, everything else one by one. Pure.

A run is a row of values that came with the same parts and the same type: they take the same bytes each, and go
from the message into the columns together. What is not a plain Good number goes one by one.

Status codes are kept untouched. A Bad reading has no value, whatever the server sent beside it; it stays in the
column of the type that the point had last, so that the order within the point holds. What cannot be represented
is a Bad reading of that point, never an error and never a text in place of a value. Bytes of which nobody can say
where the next value begins void the whole message.

The time of a reading is the source's, and by how much the server's is later goes with it. A time that cannot be
kept counts as not told; where there is no source time, the reading has the server's.
"""

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from edge_agent.model import Column, DataType, is_bad
from edge_agent_opcua.binary import DataValue, Reader, Value
from edge_agent_opcua.convert import EMPTY, EPOCH_TICKS, LATEST_TICKS, TICK_NS, Converter, convert
from edge_agent_opcua.responses import Values
from edge_agent_opcua.shape import CHANGED, HANDLE_BYTES, READ, Shape, run_at, text_at

# InfoType DataValue and the Overflow bit: the server's queue lost samples (OPC 10000-4 §7.39).
OVERFLOW = 0x0000_0480


class _Builder:
    """One column that is being filled."""

    __slots__ = ("has_status", "has_time", "lags_ns", "offsets_ns", "points", "statuses", "values")

    def __init__(self, data_type: DataType) -> None:
        self.points = array("H")
        self.values: Any = array(data_type.typecode) if data_type.typecode else []
        self.statuses = array("I")
        self.offsets_ns = array("q")
        self.lags_ns = array("q")  # only as far as the last one that is not 0
        self.has_status = self.has_time = False

    def add_lags(self, lags_ns: Iterable[int]) -> None:
        """Take the lags of the readings that come next."""
        missing = len(self.points) - len(self.lags_ns)
        self.lags_ns.frombytes(bytes(self.lags_ns.itemsize * missing))
        self.lags_ns.extend(lags_ns)

    def column(self, data_type: DataType) -> Column:
        if self.lags_ns:
            self.add_lags(())
        return Column(
            data_type,
            self.points,
            None if data_type is DataType.NULL else self.values,
            self.statuses if self.has_status else None,
            self.offsets_ns if self.has_time else None,
            self.lags_ns or None,
        )


class Decoder:
    """Turns the values of one session into columns.

    Attributes:
        converters: for the points whose values are not taken as they are.
        overflows: readings that came with the Overflow bit so far: samples before them were lost at the server.
    """

    def __init__(self) -> None:
        self.converters: Mapping[int, Converter] = {}
        self.overflows = 0
        self._types: dict[int, DataType] = {}
        self._points_of: dict[DataType, set[int]] = {data_type: set() for data_type in DataType}

    def read(
        self,
        time_ns: int,
        points: Sequence[int],
        answers: Iterable[Values],
        statuses: Mapping[int, int] = MappingProxyType({}),
    ) -> tuple[Column, ...]:
        """Return the readings of what was read.

        Args:
            time_ns: when it arrived; holds for those whose server told no usable time.
            points: what was asked for, in this order.
            answers: one after the other, as many values as ``points``.
            statuses: of points that have a Bad status instead of a value.

        Raises:
            MalformedError: nothing of it can be trusted.
        """
        batch = _Batch(self, time_ns)
        first = 0
        for values in answers:
            batch.take_values(values.data, values.at, points[first : first + values.count])
            first += values.count
        for point, status in statuses.items():
            batch.add(point, DataValue(None, status, None, None))
        return batch.columns()

    def changes(self, time_ns: int, bodies: Iterable[bytes], reported: frozenset[int]) -> tuple[Column, ...]:
        """Return the readings of DataChangeNotifications (OPC 10000-4 §7.25.2).

        Args:
            time_ns: when they arrived; holds for those whose server told no usable time.
            bodies: of the notifications.
            reported: points that may be in them, by handle; others are passed over.

        Raises:
            MalformedError: nothing of them can be trusted.
        """
        batch = _Batch(self, time_ns)
        for body in bodies:
            reader = Reader(body)
            batch.take_changes(reader, reader.count(5), reported)
        return batch.columns()

    def type_of(self, point: int) -> DataType:
        """Return the type that the point's last value had; NULL before the first one."""
        return self._types.get(point, DataType.NULL)

    def note_types(self, points: Sequence[int], data_type: DataType) -> None:
        """Keep in mind that ``points`` have this type."""
        if not self._points_of[data_type].issuperset(points):
            for point in points:
                self._points_of[self.type_of(point)].discard(point)
                self._types[point] = data_type
            self._points_of[data_type].update(points)

    def converter_of(self, point: int) -> Converter:
        """Return what makes readings of the point's values."""
        return self.converters.get(point, convert)

    def is_plain(self, points: Iterable[int]) -> bool:
        """Return whether the values of all ``points`` are taken as they are."""
        return self.converters.keys().isdisjoint(points)


class _Batch:
    """The columns of one exchange while they are made."""

    def __init__(self, decoder: Decoder, time_ns: int) -> None:
        self._decoder = decoder
        self._time_ns = time_ns
        self._builders: dict[DataType, _Builder] = {}

    def columns(self) -> tuple[Column, ...]:
        return tuple(builder.column(data_type) for data_type, builder in self._builders.items())

    def take_values(self, data: bytes, at: int, points: Sequence[int]) -> None:
        """Take one DataValue for each of ``points``, from ``at`` on."""
        reader, taken, count = Reader(data, at), 0, len(points)
        while taken < count:
            at = reader.at
            shape = READ.get(data[at : at + 2])
            if shape is None:
                self._take_other(reader, points[taken])
                taken += 1
                continue
            run = run_at(data, at, shape.form.size, 0, count - taken)
            reader.spend(run)
            if run == 1:
                reader.skip(shape.form.size)
                self._take_one(shape, points[taken], shape.form.unpack_from(data, at))
                taken += 1
                continue
            stop = reader.skip(run * shape.form.size) + run * shape.form.size
            parts = list(zip(*shape.form.iter_unpack(data[at:stop]), strict=True))
            self._take(shape, points[taken : taken + run], parts)
            taken += run

    def take_changes(self, reader: Reader, count: int, reported: frozenset[int]) -> None:
        """Take ``count`` MonitoredItemNotifications."""
        data, taken = reader.data, 0
        while taken < count:
            at = reader.at
            shape = CHANGED.get(data[at + HANDLE_BYTES : at + HANDLE_BYTES + 2])
            if shape is None:
                point = reader.uint32()
                self._take_other(reader, point if point in reported else None)
                taken += 1
                continue
            run = run_at(data, at, shape.form.size, HANDLE_BYTES, count - taken)
            reader.spend(run)
            if run == 1:
                reader.skip(shape.form.size)
                point, *parts = shape.form.unpack_from(data, at)
                if point in reported:
                    self._take_one(shape, point, parts)
                taken += 1
                continue
            stop = reader.skip(run * shape.form.size) + run * shape.form.size
            points, *parts = zip(*shape.form.iter_unpack(data[at:stop]), strict=True)
            if not reported.issuperset(points):
                kept = [i for i, point in enumerate(points) if point in reported]
                points, parts = tuple(points[i] for i in kept), [tuple(part[i] for i in kept) for part in parts]
            if points:
                self._take(shape, points, parts)
            taken += run

    def add(self, point: int, value: DataValue) -> None:
        """Take one value, whatever it is."""
        data_type, content, status = DataType.NULL, None, value.status
        if not is_bad(status):
            data_type, content, status = self._decoder.converter_of(point)(value.value, status)
        self._append(point, data_type, content, status, value.source_ticks, value.server_ticks)

    def _take_other(self, reader: Reader, point: int | None) -> None:
        """Take a value that is no number; None: of a point that is not asked for."""
        reader.spend()
        found = text_at(reader.data, reader.at)
        if found is None:
            value = reader.data_value()
            if point is not None:
                self.add(point, value)
        else:
            shape, row, reader.at = found
            if point is not None:
                self._take_one(shape, point, row)

    def _take(self, shape: Shape, points: Sequence[int], parts: Sequence[Sequence[Any]]) -> None:
        """Take values of one shape: all together, if they are plain and Good and their times make sense."""
        values, data_type = parts[0], shape.data_type
        ticks = parts[shape.time_at] if shape.time_at else None
        server_ticks = parts[-1] if shape.has_server and parts[-1] != ticks else None
        if (
            (not shape.has_status or not any(parts[1]))
            and (ticks is None or _are_usable(ticks))
            and (server_ticks is None or _are_usable(server_ticks))
            and (not shape.is_float or math.isfinite(sum(values)))
            and self._decoder.is_plain(points)
        ):
            self._extend(data_type, points, values, ticks, server_ticks)
            return
        for point, row in zip(points, zip(*parts, strict=True), strict=True):
            self._take_one(shape, point, row)

    def _take_one(self, shape: Shape, point: int, row: Sequence[Any]) -> None:
        """Take one value of a shape."""
        content, data_type = row[0], shape.data_type
        status = row[1] if shape.has_status else 0
        ticks = row[shape.time_at] if shape.time_at else None
        server_ticks = row[-1] if shape.has_server else None
        if (
            status
            or (shape.is_float and content - content != 0)  # not finite
            or not self._decoder.is_plain((point,))
        ):
            self.add(point, DataValue(Value(shape.kind, content), status, ticks, server_ticks))
        else:
            self._append(point, data_type, content, 0, ticks, server_ticks)

    def _extend(
        self,
        data_type: DataType,
        points: Sequence[int],
        values: Sequence[Any],
        ticks: Sequence[int] | None,
        server_ticks: Sequence[int] | None,
    ) -> None:
        self._decoder.note_types(points, data_type)
        builder = self._builder(data_type)
        if ticks is not None and server_ticks is not None:
            builder.add_lags([TICK_NS * (late - tick) for tick, late in zip(ticks, server_ticks, strict=True)])
        builder.points.extend(points)
        builder.values.extend(values)
        builder.statuses.frombytes(bytes(builder.statuses.itemsize * len(points)))
        if ticks is None:
            builder.offsets_ns.frombytes(bytes(builder.offsets_ns.itemsize * len(points)))
        else:
            shift_ns = EPOCH_TICKS * TICK_NS + self._time_ns
            builder.offsets_ns.extend([TICK_NS * tick - shift_ns for tick in ticks])
            builder.has_time = True

    def _append(
        self,
        point: int,
        data_type: DataType,
        content: Any,
        status: int,
        ticks: int | None,
        server_ticks: int | None,
    ) -> None:
        decoder = self._decoder
        if status & OVERFLOW == OVERFLOW:
            decoder.overflows += 1
        if data_type is DataType.NULL:
            data_type = decoder.type_of(point)
            content = EMPTY[data_type]
        elif decoder.type_of(point) is not data_type:
            decoder.note_types((point,), data_type)
        builder = self._builder(data_type)
        if server_ticks is not None and not EPOCH_TICKS <= server_ticks < LATEST_TICKS:
            server_ticks = None
        if ticks is None or not EPOCH_TICKS <= ticks < LATEST_TICKS:
            ticks = server_ticks
        elif server_ticks is not None and server_ticks != ticks:
            builder.add_lags((TICK_NS * (server_ticks - ticks),))
        builder.points.append(point)
        builder.values.append(content)
        builder.statuses.append(status)
        builder.has_status = builder.has_status or bool(status)
        if ticks is not None:
            builder.offsets_ns.append(TICK_NS * (ticks - EPOCH_TICKS) - self._time_ns)
            builder.has_time = True
        else:
            builder.offsets_ns.append(0)

    def _builder(self, data_type: DataType) -> _Builder:
        builder = self._builders.get(data_type)
        if builder is None:
            builder = self._builders[data_type] = _Builder(data_type)
        return builder


def _are_usable(ticks: Sequence[int]) -> bool:
    return min(ticks) >= EPOCH_TICKS and max(ticks) < LATEST_TICKS
