"""From DataValues to columns. Pure; knows the shape of the library's values, not the library.

Status codes are kept untouched. A Bad reading has no value, whatever the server sent beside it; it stays in the
column of the type that the point had last, so that the order within the point holds. What cannot be represented
(arrays, structures, NaN) is a Bad reading of that point, never an error and never a text in place of a value.
"""

import math
from array import array
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

from edge_agent.model import Column, DataType, Quality, is_bad

# OPC 10000-6 §5.1.2 table 1: identifiers of the built-in types.
_NUMBERS = {
    1: DataType.BOOL,
    2: DataType.INT8,
    3: DataType.UINT8,
    4: DataType.INT16,
    5: DataType.UINT16,
    6: DataType.INT32,  # and enumerations
    7: DataType.UINT32,
    8: DataType.INT64,
    9: DataType.UINT64,
    10: DataType.FLOAT32,
    11: DataType.FLOAT64,
}
_NULL, _STRING, _DATE_TIME, _GUID, _BYTE_STRING, _LOCALIZED_TEXT = 0, 12, 13, 14, 15, 21

# InfoType DataValue and the Overflow bit: the server's queue lost samples (OPC 10000-4 §7.39).
OVERFLOW = 0x0000_0480
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(2262, 1, 1, tzinfo=UTC)  # nanoseconds since 1970 fill 63 bits
_NO_TIME = -1


class _Variant(Protocol):
    Value: Any
    VariantType: Any
    is_array: Any


class _Status(Protocol):
    value: int


class DataValue(Protocol):
    """What the library gives for one value (OPC 10000-4 §7.11). What the server did not send is None."""

    Value: _Variant | None
    StatusCode: _Status | None
    SourceTimestamp: datetime | None
    ServerTimestamp: datetime | None


class _Builder:
    """One column that is being filled."""

    __slots__ = ("offsets_ns", "points", "statuses", "values")

    def __init__(self) -> None:
        self.points: list[int] = []
        self.values: list[Any] = []
        self.statuses: list[int] = []
        self.offsets_ns: list[int] = []

    def column(self, data_type: DataType) -> Column:
        values: Any = None
        if data_type is not DataType.NULL:
            values = array(data_type.typecode, self.values) if data_type.typecode else self.values
        return Column(
            data_type,
            array("H", self.points),
            values,
            array("I", self.statuses) if any(self.statuses) else None,
            array("q", self.offsets_ns) if any(self.offsets_ns) else None,
        )


class Decoder:
    """Turns the values of one session into columns.

    Attributes:
        overflows: readings that came with the Overflow bit so far: samples before them were lost at the server.
    """

    def __init__(self) -> None:
        self.overflows = 0
        self._types: dict[int, DataType] = {}
        self._last_time: datetime | None = None
        self._last_ns = _NO_TIME

    def columns(self, time_ns: int, values: Iterable[tuple[int, DataValue]]) -> tuple[Column, ...]:
        """Return the readings of ``values`` (point index and value, in order of arrival).

        Args:
            time_ns: when they arrived; holds for those whose server told no usable time.
            values: a source time before 1970 or after 2261 counts as not told.
        """
        builders: dict[DataType, _Builder] = {}
        for point, value in values:
            status = value.StatusCode.value if value.StatusCode is not None else 0
            if status & OVERFLOW == OVERFLOW:
                self.overflows += 1
            data_type, content, status = self._reading(point, value.Value, status)
            builder = builders.get(data_type)
            if builder is None:
                builder = builders[data_type] = _Builder()
            builder.points.append(point)
            builder.values.append(content)
            builder.statuses.append(status)
            source_ns = self._time_ns(value.SourceTimestamp, value.ServerTimestamp)
            builder.offsets_ns.append(0 if source_ns == _NO_TIME else source_ns - time_ns)
        return tuple(builder.column(data_type) for data_type, builder in builders.items())

    def _reading(self, point: int, variant: _Variant | None, status: int) -> tuple[DataType, Any, int]:
        if not is_bad(status):
            data_type, content, status = _convert(variant, status)
            if data_type is not DataType.NULL:
                self._types[point] = data_type
                return data_type, content, status
        data_type = self._types.get(point, DataType.NULL)
        return data_type, _EMPTY[data_type], status

    def _time_ns(self, source: datetime | None, server: datetime | None) -> int:
        if source is not None and source == self._last_time:
            return self._last_ns
        for time in (source, server):
            if time is not None and _EPOCH <= time < _LATEST:
                since = time - _EPOCH
                time_ns = (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000
                if time is source:
                    self._last_time, self._last_ns = time, time_ns
                return time_ns
        return _NO_TIME


_EMPTY: dict[DataType, Any] = dict.fromkeys(DataType, 0) | {
    DataType.NULL: None,
    DataType.STRING: "",
    DataType.BYTES: b"",
}


def _convert(variant: _Variant | None, status: int) -> tuple[DataType, Any, int]:
    """Return type, value and status of one value that the server did not call Bad."""
    kind = variant.VariantType.value if variant is not None else _NULL
    if variant is None or kind == _NULL:
        return DataType.NULL, None, Quality.BAD_WAITING_FOR_INITIAL_DATA
    if variant.is_array:
        return DataType.NULL, None, Quality.BAD_NOT_SUPPORTED
    data_type = _NUMBERS.get(kind)
    if data_type is None:
        return _convert_text(kind, variant.Value, status)
    if data_type.is_float and not math.isfinite(variant.Value):
        return data_type, 0.0, Quality.BAD_OUT_OF_RANGE
    return data_type, variant.Value, status


def _convert_text(kind: int, content: Any, status: int) -> tuple[DataType, Any, int]:
    if kind == _BYTE_STRING:
        return DataType.BYTES, content or b"", status
    text = _text(kind, content)
    if text is None:
        return DataType.NULL, None, Quality.BAD_NOT_SUPPORTED
    if not _is_utf8(text):
        return DataType.STRING, "", Quality.BAD_DECODING_ERROR
    return DataType.STRING, text, status


def _text(kind: int, content: Any) -> str | None:
    if kind == _STRING:
        return content or ""
    if kind == _LOCALIZED_TEXT:
        return content.Text or ""
    if kind == _GUID:
        return str(content)
    if kind == _DATE_TIME and content is not None:
        return str(content.astimezone(UTC).isoformat(timespec="microseconds")).replace("+00:00", "Z")
    return None


def _is_utf8(text: str) -> bool:
    """Whether ``text`` came from valid UTF-8; the library hides other bytes in lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
