"""From OPC UA values to readings: type, value and status of one. Pure.

Numbers, bool, text and bytes are taken as they are. Of the others, what people read as text becomes text; an
array, and a structure of which the fields are known, become JSON. The rest is Bad.
"""

import base64
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from edge_agent.model import DataType, Quality
from edge_agent_opcua.binary import BuiltIn, Value

TICK_NS = 100  # of a DateTime, since 1601-01-01 (OPC 10000-6 §5.2.2.5)
_BEGIN = datetime(1601, 1, 1, tzinfo=UTC)
_TICKS_PER_DAY = 864_000_000_000
EPOCH_TICKS = (datetime(1970, 1, 1, tzinfo=UTC) - _BEGIN).days * _TICKS_PER_DAY
LATEST_TICKS = (datetime(2262, 1, 1, tzinfo=UTC) - _BEGIN).days * _TICKS_PER_DAY  # ns since 1970 fill 63 bits
_LAST_TICKS = ((datetime(9999, 12, 31, tzinfo=UTC) - _BEGIN).days * 86_400 + 86_399) * 10_000_000

MAX_TEXT_ELEMENTS = 10_000  # of an array that becomes JSON
MAX_JSON_CHARACTERS = 256 * 1024
_EXACT = 2**53  # integers up to here survive in JSON as numbers (RFC 8259 §6)

NUMBERS: dict[int, DataType] = {
    BuiltIn.BOOLEAN: DataType.BOOL,
    BuiltIn.SBYTE: DataType.INT8,
    BuiltIn.BYTE: DataType.UINT8,
    BuiltIn.INT16: DataType.INT16,
    BuiltIn.UINT16: DataType.UINT16,
    BuiltIn.INT32: DataType.INT32,  # and enumerations
    BuiltIn.UINT32: DataType.UINT32,
    BuiltIn.INT64: DataType.INT64,
    BuiltIn.UINT64: DataType.UINT64,
    BuiltIn.FLOAT: DataType.FLOAT32,
    BuiltIn.DOUBLE: DataType.FLOAT64,
}

EMPTY: dict[DataType, Any] = dict.fromkeys(DataType, 0) | {
    DataType.NULL: None,
    DataType.STRING: "",
    DataType.BYTES: b"",
}
"""What stands in a column where there is no value."""

Reading = tuple[DataType, Any, int]
"""Type, value and status; of type NULL, which has no value, the status is Bad."""

Converter = Callable[[Value | None, int], Reading]
"""Makes a reading of a value and the status that it came with, which is not Bad."""


def convert(value: Value | None, status: int) -> Reading:
    """Return the reading of one value that the server did not call Bad."""
    if value is None or value.kind == BuiltIn.NULL:
        return DataType.NULL, None, Quality.BAD_WAITING_FOR_INITIAL_DATA
    if value.is_array or isinstance(value.content, dict):
        return _json(value, status)
    return scalar(value.kind, value.content, status)


def scalar(kind: int, content: Any, status: int) -> Reading:
    """Return the reading of one thing of a built-in type."""
    data_type = _TYPES.get(kind)
    if data_type is None:
        return DataType.NULL, None, Quality.BAD_NOT_SUPPORTED
    if data_type is DataType.BYTES:
        content = content or b""
    elif data_type is DataType.STRING:
        content = _TEXTS[kind](content)
        if not _is_utf8(content):
            return DataType.STRING, "", Quality.BAD_DECODING_ERROR
    elif data_type.is_float and not math.isfinite(content):
        return data_type, 0.0, Quality.BAD_OUT_OF_RANGE
    return data_type, content, status


def date_time(ticks: int) -> str:
    """Return ISO 8601 in UTC, to the microsecond; before 1601 and after 9999 are the ends of time."""
    ticks = min(max(ticks, 0), _LAST_TICKS)
    moment = _BEGIN + timedelta(microseconds=ticks // 10)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _written(content: str | None) -> str:
    return content or ""


_TEXTS: dict[int, Callable[[Any], str]] = {
    BuiltIn.STRING: _written,
    BuiltIn.XML_ELEMENT: _written,
    BuiltIn.LOCALIZED_TEXT: _written,
    BuiltIn.QUALIFIED_NAME: _written,
    BuiltIn.DATE_TIME: date_time,
    BuiltIn.GUID: str,
    BuiltIn.NODE_ID: str,
    BuiltIn.EXPANDED_NODE_ID: str,
}
_TYPES: dict[int, DataType] = {
    **NUMBERS,
    BuiltIn.STATUS_CODE: DataType.UINT32,
    BuiltIn.BYTE_STRING: DataType.BYTES,
    **dict.fromkeys(_TEXTS, DataType.STRING),
}


def _json(value: Value, status: int) -> Reading:
    if len(value.content) > MAX_TEXT_ELEMENTS:
        return DataType.NULL, None, Quality.BAD_ENCODING_LIMITS_EXCEEDED
    try:
        text = json.dumps(plain(value.kind, value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except TypeError:
        return DataType.NULL, None, Quality.BAD_NOT_SUPPORTED
    if len(text) > MAX_JSON_CHARACTERS:
        return DataType.NULL, None, Quality.BAD_ENCODING_LIMITS_EXCEEDED
    if not _is_utf8(text):
        return DataType.STRING, "", Quality.BAD_DECODING_ERROR
    return DataType.STRING, text, status


def plain(kind: int, content: Any) -> Any:
    """Return what JSON has for a thing of a built-in type: a number that it would round is text, NaN is null.

    Raises:
        TypeError: it has nothing for it.
    """
    if isinstance(content, Value):
        if content.is_array:
            return _nested([plain(content.kind, one) for one in content.content], content.dimensions)
        return plain(content.kind, content.content)
    if isinstance(content, dict):  # the fields of a structure
        return {name: plain(field.kind, field) for name, field in content.items()}
    if kind != BuiltIn.NULL and kind not in _TYPES:
        raise TypeError(f"no JSON for built-in type {kind}")
    if content is None:
        return None
    return _TEXTS[kind](content) if kind in _TEXTS else _number_or_bytes(content)


def _number_or_bytes(content: Any) -> Any:
    if isinstance(content, bytes):
        return base64.b64encode(content).decode()
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    return content if abs(content) <= _EXACT else str(content)


def _nested(elements: list[Any], dimensions: tuple[int, ...]) -> list[Any]:
    """Return elements as arrays of arrays, the last dimension innermost (OPC 10000-6 §5.2.2.16)."""
    for size in reversed(dimensions[1:]):
        elements = [elements[i : i + size] for i in range(0, len(elements), size)] if size else []
    return elements


def _is_utf8(text: str) -> bool:
    """Whether ``text`` came from valid UTF-8; other bytes are lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
