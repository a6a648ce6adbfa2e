"""Readings as columns: what one exchange produced. No object per reading anywhere on the hot path."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from edge_agent.model.ids import DeviceId
from edge_agent.model.loss import Lost
from edge_agent.model.point import DataType


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """Readings of one data type, side by side. All sequences have the same length, in acquisition order.

    Attributes:
        points: point indexes into the device's ``PointTable``, typecode ``H``. A driver may hand out the same
            object again and again: nobody changes it.
        values: ``array`` of the data type's typecode; a list of ``str`` or ``bytes`` for STRING and BYTES;
            None for NULL. The value of a Bad reading is present but means nothing.
        statuses: OPC UA StatusCodes, typecode ``I``; None if all are Good.
        offsets_ns: source time minus the batch's ``time_ns``, typecode ``q``; None if the batch time holds.
        lags_ns: the time of the server that stands between us and the source, minus the time of the reading,
            typecode ``q``; 0 where it told the same, or none. None if all are 0.
    """

    data_type: DataType
    points: "array[int]"
    values: "array[int] | array[float] | list[str] | list[bytes] | None"
    statuses: "array[int] | None" = None
    offsets_ns: "array[int] | None" = None
    lags_ns: "array[int] | None" = None

    def __len__(self) -> int:
        return len(self.points)

    @classmethod
    def bad(cls, points: Iterable[int], status: int) -> "Column":
        """Return a NULL column that gives each of ``points`` the same Bad status."""
        indexes = array("H", points)
        return cls(DataType.NULL, indexes, None, array("I", [status]) * len(indexes))

    def take(self, positions: Sequence[int]) -> "Column":
        """Return a new column with the readings at ``positions`` only."""
        return Column(
            self.data_type,
            _taken(self.points, positions),
            None if self.values is None else _taken(self.values, positions),
            None if self.statuses is None else _taken(self.statuses, positions),
            None if self.offsets_ns is None else _taken(self.offsets_ns, positions),
            None if self.lags_ns is None else _taken(self.lags_ns, positions),
        )


def _taken(sequence: Any, positions: Sequence[int]) -> Any:
    if isinstance(positions, range) and positions.step == 1:
        return sequence[positions.start : positions.stop]
    picked = [sequence[i] for i in positions]
    return array(sequence.typecode, picked) if isinstance(sequence, array) else picked


@dataclass(frozen=True, slots=True, eq=False)
class ReadingBatch:
    """What one exchange produced.

    Attributes:
        time_ns: when the answer arrived, UTC nanoseconds; the time of each reading without an offset.
        columns: at most a few; one per data type present.
        refused: point indexes that the device said it will never give as configured. They also have a Bad
            status in a column; the supervisor plans again without them in shared requests.
        lost: what the session found to be missing. A batch may tell that alone, without a reading.
        historical: fetched after an outage: readings of a time before those that were told already.
    """

    device: DeviceId
    time_ns: int
    columns: tuple[Column, ...]
    refused: frozenset[int] = frozenset()
    lost: tuple[Lost, ...] = ()
    historical: bool = False

    def __len__(self) -> int:
        return sum(map(len, self.columns))

    def statuses(self) -> dict[int, int]:
        """Return the status of each point; the last one of a point that has several readings."""
        return {
            index: status
            for column in self.columns
            for index, status in zip(column.points, column.statuses or repeat(0), strict=False)
        }

    @classmethod
    def bad(cls, device: DeviceId, time_ns: int, points: Iterable[int], status: int) -> "ReadingBatch":
        """Return a batch that gives each of ``points`` the same Bad status and no value."""
        return cls(device, time_ns, (Column.bad(points, status),))
