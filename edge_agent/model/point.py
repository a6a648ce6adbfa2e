"""Points and point tables: what is configured of a device, frozen and numbered."""

import hashlib
import json
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from functools import cached_property

from edge_agent.model.ids import DeviceId, PointName


class DataType(Enum):
    """Type of the values of one column; the member's value is ``(word, array typecode or "")``.

    ``NULL`` is the type of a column that has no values at all: every reading in it is Bad.
    """

    NULL = ("null", "")
    BOOL = ("bool", "B")
    INT8 = ("int8", "b")
    UINT8 = ("uint8", "B")
    INT16 = ("int16", "h")
    UINT16 = ("uint16", "H")
    INT32 = ("int32", "i")
    UINT32 = ("uint32", "I")
    INT64 = ("int64", "q")
    UINT64 = ("uint64", "Q")
    FLOAT32 = ("float32", "f")
    FLOAT64 = ("float64", "d")
    STRING = ("string", "")
    BYTES = ("bytes", "")

    def __init__(self, word: str, typecode: str) -> None:
        self.word = word
        self.typecode = typecode

    @property
    def is_float(self) -> bool:
        """Whether values are binary floating point and may be NaN or infinite."""
        return self.typecode in {"f", "d"}


class ReadingClass(StrEnum):
    """How precious a reading is; retention gives up the last one first."""

    ALARM = "alarm"
    EVENT = "event"
    COUNTER = "counter"
    TREND = "trend"


@dataclass(frozen=True, slots=True)
class Deadband:
    """When a change is too small to be kept.

    Attributes:
        absolute: in the point's unit; 0 keeps any change and drops repeats.
        percent: of the last kept value's magnitude, 0 to 100; used if greater than ``absolute``.
        max_silence_s: a reading is kept at the latest after this time, changed or not; infinity = never forced.
    """

    absolute: float = 0.0
    percent: float = 0.0
    max_silence_s: float = float("inf")


@dataclass(frozen=True, slots=True)
class Point:
    """One configured variable of a device.

    Attributes:
        unit: UCUM or floor notation, as configured; published as it is.
        reading_class: decides what is dropped first when the outbox is full.
        deadband: None keeps every reading.
        range: lowest and highest value that is expected; None = not known.
    """

    name: PointName
    unit: str = ""
    reading_class: ReadingClass = ReadingClass.TREND
    description: str = ""
    deadband: Deadband | None = None
    range: tuple[float, float] | None = None

    @property
    def limits(self) -> dict[str, float] | None:
        """The range, for whoever shows it."""
        return None if self.range is None else {"low": self.range[0], "high": self.range[1]}


@dataclass(frozen=True)
class PointTable:
    """The points of one device, in the order that gives them their index. Immutable.

    Rows of the outbox name the table under which they were collected, so that a later renaming,
    reordering or deletion never misnames them.
    """

    device: DeviceId
    points: tuple[Point, ...]
    single_class: ReadingClass | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        classes = {point.reading_class for point in self.points}
        object.__setattr__(self, "single_class", classes.pop() if len(classes) == 1 else None)

    @cached_property
    def names(self) -> tuple[PointName, ...]:
        """Names by point index."""
        return tuple(point.name for point in self.points)

    @cached_property
    def units(self) -> dict[PointName, str]:
        """Units by name, of the points that have one."""
        return {point.name: point.unit for point in self.points if point.unit}

    @cached_property
    def digest(self) -> str:
        """Content hash over what the outbox keeps of a table (device, names, units, classes)."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:32]

    def to_json(self) -> str:
        """Return the table as the outbox keeps it; ``from_json`` gives it back."""
        rows = [[p.name, p.unit, p.reading_class.value] for p in self.points]
        return json.dumps({"device": self.device, "points": rows}, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "PointTable":
        """Rebuild a table from ``to_json``; what the outbox does not keep has its default."""
        data = json.loads(text)
        points = tuple(
            Point(PointName(name), unit=unit, reading_class=ReadingClass(word))
            for name, unit, word in data["points"]
        )
        return cls(DeviceId(data["device"]), points)
