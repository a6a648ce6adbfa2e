"""What asyncua reads in a message of an OPC UA server, as readings, beside what our decoder reads in it.

Where asyncua 2.1 is not what OPC 10000-6 says, it has no say: fractions of 100 ns (§5.2.2.17) and inner
diagnostics (§5.2.2.12), which it reads in another order, and XML bodies (§5.2.2.15), which it does not pass over.
"""

import base64
import json
import math
import struct
import uuid
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua import ua_binary

from edge_agent.model import DataType, DeviceId, Quality, ReadingBatch, is_bad
from edge_agent.testing.conformance import check_batch
from edge_agent_opcua.binary import MalformedError, Reader
from edge_agent_opcua.convert import MAX_TEXT_ELEMENTS
from edge_agent_opcua.decode import Decoder
from edge_agent_opcua.responses import (
    PUBLISH_RESPONSE,
    READ_RESPONSE,
    notification,
    read_values,
    service_result,
)

NOW_NS = 1_790_000_000_000_000_000
POINTS = 12
EPOCH, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
Kind = ua.VariantType
TYPES = {
    Kind.Boolean: DataType.BOOL, Kind.SByte: DataType.INT8, Kind.Byte: DataType.UINT8, Kind.Int16: DataType.INT16,
    Kind.UInt16: DataType.UINT16, Kind.Int32: DataType.INT32, Kind.UInt32: DataType.UINT32,
    Kind.Int64: DataType.INT64, Kind.UInt64: DataType.UINT64, Kind.Float: DataType.FLOAT32,
    Kind.Double: DataType.FLOAT64, Kind.StatusCode: DataType.UINT32,
}  # fmt: skip
NEVER = {Kind.ExtensionObject, Kind.DataValue, Kind.DiagnosticInfo}
RESERVED = range(26, 32)

Told = tuple[int, DataType, Any, int, int, int]
"""Point, type, value, status and both times of a reading, µs; NULL where only that it is Bad is known."""


class NoSayError(Exception):
    """The message has something that asyncua reads otherwise than the standard says."""


_extension_object = ua_binary.extensionobject_from_binary


def _binary_only(data: Any) -> Any:
    ahead = data.copy()
    ua_binary.nodeid_from_binary(ahead)
    form = ahead.read(1)[0]
    if form > 1 or (form and struct.unpack("<i", ahead.read(4))[0] < 0):
        raise NoSayError
    return _extension_object(data)


ua_binary.extensionobject_from_binary = _binary_only


def theirs(kind: str, message: bytes) -> list[Told]:
    """Return what asyncua reads.

    Raises:
        NoSayError: it has no say here.
        Exception: whatever it fails with.
    """
    buffer = Buffer(message)
    if kind == "read":
        read = ua_binary.struct_from_binary(ua.ReadResponse, buffer)
        _check_say(read.ResponseHeader.ServiceDiagnostics)
        return [_expected(point, value) for point, value in enumerate(read.Results)]
    published = ua_binary.struct_from_binary(ua.PublishResponse, buffer)
    _check_say(published.ResponseHeader.ServiceDiagnostics)
    parameters = published.Parameters
    told = parameters.NotificationMessage
    head = (parameters.SubscriptionId, told.SequenceNumber)
    result: list[Told] = [(-1, DataType.NULL, head, 0, 0, 0)]
    for part in told.NotificationData or []:
        if isinstance(part, ua.DataChangeNotification):
            result += [
                _expected(it.ClientHandle, it.Value) for it in part.MonitoredItems if it.ClientHandle < POINTS
            ]
    return result


def ours(kind: str, message: bytes) -> list[Told]:
    """Return what we read.

    Raises:
        MalformedError: it is void.
    """
    decoder, reader = Decoder(), Reader(message)
    result: list[Told] = []
    if kind == "read":
        service_result(reader, READ_RESPONSE)
        values = read_values(reader)
        if len(values) != POINTS:
            raise MalformedError("not as many answers as questions")
        columns = decoder.read(NOW_NS, range(POINTS), [values])
    else:
        service_result(reader, PUBLISH_RESPONSE)
        told = notification(reader)
        result = [(-1, DataType.NULL, (told.subscription_id, told.sequence), 0, 0, 0)]
        columns = decoder.changes(NOW_NS, told.changes, frozenset(range(POINTS)))
    if columns:
        check_batch(ReadingBatch(DeviceId("d"), NOW_NS, columns))
    for column in columns:
        for i, point in enumerate(column.points):
            status = column.statuses[i] if column.statuses is not None else 0
            time_ns = NOW_NS + (column.offsets_ns[i] if column.offsets_ns is not None else 0)
            server_ns = time_ns + (column.lags_ns[i] if column.lags_ns is not None else 0)
            content = None if is_bad(status) or column.values is None else column.values[i]
            data_type = DataType.NULL if content is None else column.data_type
            result.append((point, data_type, content, status, time_ns // 1000, server_ns // 1000))
    return result


def differences(mine: Iterable[Told], oracle: Iterable[Told]) -> tuple[list[str], list[str]]:
    """Return the readings, as text, that only one side has; Good ones in another order differ."""
    ours_told, theirs_told = _counted(mine), _counted(oracle)
    return sorted((ours_told - theirs_told).elements()), sorted((theirs_told - ours_told).elements())


def _counted(told: Iterable[Told]) -> Counter[str]:
    """Number the values of each point and type: those of different columns have no order among them.

    A Bad reading is in the column of the type that its point had last, of which the oracle knows nothing.
    """
    numbers: Counter[tuple[int, DataType]] = Counter()
    counted: Counter[str] = Counter()
    for point, data_type, content, status, time_us, server_us in told:
        numbers[point, data_type] += data_type is not DataType.NULL
        number = numbers[point, data_type]
        counted[f"p{point} {data_type.word} {number}: {content!r} {status:#x} {time_us} {server_us}"] += 1
    return counted


def _check_say(diagnostics: Any) -> None:
    if diagnostics.InnerDiagnosticInfo is not None:
        raise NoSayError


def _expected(point: int, value: Any) -> Told:
    """Return the reading that asyncua's value is."""
    _check_value(value)
    status = value.StatusCode.value if value.StatusCode is not None else 0
    data_type, content = DataType.NULL, None
    if not is_bad(status):
        data_type, content, status = _content(value.Value, status)
    return point, data_type, content, int(status), *_times_us(value)


def _check_value(value: Any) -> None:
    """Raise where asyncua reads values in values otherwise than the standard says."""
    if isinstance(value, ua.DataValue):
        if value.SourcePicoseconds is not None or value.ServerPicoseconds is not None:
            raise NoSayError
        _check_value(value.Value)
    elif isinstance(value, ua.Variant):
        _check_value(value.Value)
    elif isinstance(value, ua.DiagnosticInfo):
        _check_say(value)
    elif isinstance(value, list):
        for one in value:
            _check_value(one)


def _times_us(value: Any) -> tuple[int, int]:
    """Return the time of the reading and that of the server, which are the same where one of them is not told."""
    usable = [
        (moment - EPOCH) // timedelta(microseconds=1)
        for moment in (value.SourceTimestamp, value.ServerTimestamp)
        if moment is not None and EPOCH <= moment < LATEST
    ] or [NOW_NS // 1000]
    return usable[0], usable[-1]


def _content(variant: Any, status: int) -> tuple[DataType, Any, int]:
    kind, content = variant.VariantType, variant.Value
    if variant.is_array or isinstance(content, list):
        return _text_of_array(kind, content or [], status)
    if kind == Kind.Null:
        return DataType.NULL, None, Quality.BAD_WAITING_FOR_INITIAL_DATA
    return _scalar(kind, content, status)


def _scalar(kind: Any, content: Any, status: int) -> tuple[DataType, Any, int]:
    if kind in NEVER or kind.value in RESERVED or kind == Kind.Variant:
        return DataType.NULL, None, Quality.BAD_NOT_SUPPORTED
    if kind in TYPES:
        content = content.value if kind == Kind.StatusCode else content
        if isinstance(content, float) and not math.isfinite(content):
            return DataType.NULL, None, Quality.BAD_OUT_OF_RANGE
        return TYPES[kind], int(content) if isinstance(content, bool) else content, status
    if kind == Kind.ByteString:
        return DataType.BYTES, content or b"", status
    return _good_text(_text(kind, content) or "", status)


def _good_text(text: str, status: int) -> tuple[DataType, Any, int]:
    try:
        text.encode()
    except UnicodeEncodeError:
        return DataType.NULL, None, Quality.BAD_DECODING_ERROR
    return DataType.STRING, text, status


def _text_of_array(kind: Any, content: list[Any], status: int) -> tuple[DataType, Any, int]:
    if _has(content, kind):
        return DataType.NULL, None, Quality.BAD_NOT_SUPPORTED
    if len(_flat(content)) > MAX_TEXT_ELEMENTS:
        return DataType.NULL, None, Quality.BAD_ENCODING_LIMITS_EXCEEDED
    return _good_text(json.dumps(plain(kind, content), ensure_ascii=False, separators=(",", ":")), status)


def _flat(content: list[Any]) -> list[Any]:
    return [one for part in content for one in (_flat(part) if isinstance(part, list) else [part])]


def _has(content: Any, kind: Any) -> bool:
    """Return whether there is something for which JSON has nothing."""
    if isinstance(content, list):
        return any(_has(one, kind) for one in content)
    if isinstance(content, ua.Variant):
        return _has(_inside(content), content.VariantType)
    return kind in NEVER or kind.value in RESERVED


def _inside(variant: Any) -> Any:
    """Return what a Variant holds: a null array has no elements, whatever they would be."""
    return [] if variant.is_array and variant.Value is None else variant.Value


def plain(kind: Any, content: Any) -> Any:
    if isinstance(content, list):
        return [plain(kind, one) for one in content]
    if isinstance(content, ua.Variant):
        return plain(content.VariantType, _inside(content))
    if content is None or kind == Kind.Null:
        return None
    if kind in TYPES:
        return _number(content.value if kind == Kind.StatusCode else content)
    return base64.b64encode(content).decode() if kind == Kind.ByteString else _text(kind, content)


def _number(content: Any) -> Any:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    return content if abs(content) <= 2**53 else str(content)


def _text(kind: Any, content: Any) -> Any:
    if kind == Kind.LocalizedText:
        return content.Text
    if kind == Kind.QualifiedName:
        index = content.NamespaceIndex & 0xFFFF  # asyncua takes it for a signed number
        return f"{index}:{content.Name or ''}" if index else content.Name or ""
    if kind == Kind.XmlElement:
        return content.Value
    if kind in (Kind.NodeId, Kind.ExpandedNodeId):
        return _node_text(content)
    if kind == Kind.DateTime:
        return content.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return None if content is None else str(content)


def _node_text(node: Any) -> str:
    content = node.Identifier
    letter = {int: "i", str: "s", uuid.UUID: "g", bytes: "b"}.get(type(content), "s")
    text = base64.b64encode(content).decode() if letter == "b" else str(content if content is not None else "")
    uri = getattr(node, "NamespaceUri", None)
    if uri:
        return f"nsu={uri.replace('%', '%25').replace(';', '%3B')};{letter}={text}"
    return f"ns={node.NamespaceIndex};{letter}={text}" if node.NamespaceIndex else f"{letter}={text}"
