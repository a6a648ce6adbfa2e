import math
import struct
from array import array
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from edge_agent.model import Column, DataType, Quality
from edge_agent_opcua.binary import MalformedError
from edge_agent_opcua.decode import OVERFLOW, Decoder

ARRIVED = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)
ARRIVED_NS = int(ARRIVED.timestamp()) * 10**9
Kind = ua.VariantType
LATER_NS = 5 * 3600 * 10**9


def value(content: Any, kind: Any = None, status: int = 0, **times: Any) -> Any:
    return ua.DataValue(ua.Variant(content, kind), ua.StatusCode(status), **times)


def notified(pairs: Iterable[tuple[int, Any]]) -> bytes:
    items = [ua.MonitoredItemNotification(point, value) for point, value in pairs]
    return bytes(struct_to_binary(ua.DataChangeNotification(MonitoredItems=items)))


def decode(*values: Any, decoder: Decoder | None = None) -> tuple[Column, ...]:
    body = notified(enumerate(values))
    return (decoder or Decoder()).changes(ARRIVED_NS, [body], frozenset(range(len(values))))


@pytest.mark.parametrize(
    ("kind", "content", "data_type", "expected"),
    [
        (Kind.Boolean, True, DataType.BOOL, 1),
        (Kind.SByte, -128, DataType.INT8, -128),
        (Kind.Byte, 255, DataType.UINT8, 255),
        (Kind.Int16, -32768, DataType.INT16, -32768),
        (Kind.UInt16, 65535, DataType.UINT16, 65535),
        (Kind.Int32, -(2**31), DataType.INT32, -(2**31)),
        (Kind.UInt32, 2**32 - 1, DataType.UINT32, 2**32 - 1),
        (Kind.Int64, 2**53 + 1, DataType.INT64, 2**53 + 1),
        (Kind.UInt64, 2**64 - 1, DataType.UINT64, 2**64 - 1),
        (Kind.Float, 1.5, DataType.FLOAT32, 1.5),
        (Kind.Double, 0.1, DataType.FLOAT64, 0.1),
        (Kind.String, "齿轮", DataType.STRING, "齿轮"),
        (Kind.String, None, DataType.STRING, ""),
        (Kind.ByteString, b"\x00", DataType.BYTES, b"\x00"),
        (Kind.ByteString, None, DataType.BYTES, b""),
        (Kind.LocalizedText, ua.LocalizedText("Spindle", "en"), DataType.STRING, "Spindle"),
        (Kind.LocalizedText, ua.LocalizedText(), DataType.STRING, ""),
        (Kind.DateTime, ARRIVED, DataType.STRING, "2026-11-23T08:00:00.000000Z"),
        (Kind.XmlElement, ua.XmlElement("<a/>"), DataType.STRING, "<a/>"),
        (Kind.NodeId, ua.NodeId("Spindle", 2), DataType.STRING, "ns=2;s=Spindle"),
        (Kind.ExpandedNodeId, ua.ExpandedNodeId(5, 2), DataType.STRING, "ns=2;i=5"),
        (Kind.StatusCode, ua.StatusCode(Quality.BAD_SENSOR_FAILURE), DataType.UINT32, Quality.BAD_SENSOR_FAILURE),
        (Kind.QualifiedName, ua.QualifiedName("Axis", 2), DataType.STRING, "2:Axis"),
        (Kind.Double, [1.0, math.nan], DataType.STRING, "[1.0,null]"),
        (Kind.Double, [], DataType.STRING, "[]"),
        (Kind.UInt64, [2**53, 2**53 + 1], DataType.STRING, '[9007199254740992,"9007199254740993"]'),
        (Kind.ByteString, [b"\x00", None], DataType.STRING, '["AA==",null]'),
        (Kind.LocalizedText, [ua.LocalizedText("齿轮")], DataType.STRING, '["齿轮"]'),
    ],
)
def test_built_in_types_keep_their_type_and_value(
    kind: Any, content: Any, data_type: DataType, expected: object
) -> None:
    (column,) = decode(value(content, kind))
    assert column.data_type is data_type
    assert column.values is not None
    assert column.values[0] == expected
    assert column.statuses is None


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (value([0.0] * 10_001, Kind.Double), Quality.BAD_ENCODING_LIMITS_EXCEEDED),
        (value([ua.DataValue(1)], Kind.DataValue), Quality.BAD_NOT_SUPPORTED),
        (value(ua.ExtensionObject(), Kind.ExtensionObject), Quality.BAD_NOT_SUPPORTED),
        (value(None), Quality.BAD_WAITING_FOR_INITIAL_DATA),
        (value(None, status=Quality.BAD_SENSOR_FAILURE), Quality.BAD_SENSOR_FAILURE),
        (value(42.0, Kind.Double, Quality.BAD_SENSOR_FAILURE), Quality.BAD_SENSOR_FAILURE),
    ],
)
def test_what_has_no_value_is_null_and_bad(given: Any, status: int) -> None:
    (column,) = decode(given)
    assert column.data_type is DataType.NULL
    assert column.values is None
    assert column.statuses is not None
    assert list(column.statuses) == [status]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_bad_and_not_in_the_column(number: float) -> None:
    (column,) = decode(value(number, Kind.Double))
    assert column.statuses is not None
    assert list(column.statuses) == [Quality.BAD_OUT_OF_RANGE]
    assert column.values is not None
    assert column.values[0] == 0.0


def test_text_that_is_not_utf8_is_bad_instead_of_poisoning_the_batch() -> None:
    (column,) = decode(value("ok", Kind.String), value("\udcff", Kind.String))
    assert column.values == ["ok", ""]
    assert column.statuses is not None
    assert list(column.statuses) == [0, Quality.BAD_DECODING_ERROR]


def test_peer_defect_03_a_bad_reading_stays_in_its_points_column_and_order() -> None:
    decoder = Decoder()
    good = value(1.5, Kind.Double)
    bad = value(None, status=Quality.BAD_NO_COMMUNICATION)
    (column,) = decoder.changes(ARRIVED_NS, [notified([(0, good), (0, bad), (0, good)])], frozenset({0}))
    assert column.data_type is DataType.FLOAT64
    assert column.values is not None
    assert list(column.values) == [1.5, 0.0, 1.5]
    assert column.statuses is not None
    assert list(column.statuses) == [0, Quality.BAD_NO_COMMUNICATION, 0]


def test_status_codes_are_kept_untouched() -> None:
    uncertain = value(7.5, Kind.Double, Quality.UNCERTAIN_LAST_USABLE_VALUE)
    odd = value(7.5, Kind.Double, 0x0096_0000)  # Good, LocalOverride
    (column,) = decode(uncertain, odd)
    assert column.statuses is not None
    assert list(column.statuses) == [Quality.UNCERTAIN_LAST_USABLE_VALUE, 0x0096_0000]
    assert column.values is not None
    assert list(column.values) == [7.5, 7.5]


def test_overflows_are_counted_and_stay_in_the_status() -> None:
    decoder = Decoder()
    (column,) = decode(value(1.0, Kind.Double, OVERFLOW), value(1.0, Kind.Double), decoder=decoder)
    assert decoder.overflows == 1
    assert column.statuses is not None
    assert column.statuses[0] == OVERFLOW


def test_the_source_time_counts_then_the_servers_then_the_arrival() -> None:
    source, server = ARRIVED - timedelta(seconds=2), ARRIVED - timedelta(seconds=1)
    (column,) = decode(
        value(1, Kind.Int32, SourceTimestamp=source, ServerTimestamp=server),
        value(2, Kind.Int32, ServerTimestamp=server),
        value(3, Kind.Int32),
    )
    assert column.offsets_ns is not None
    assert list(column.offsets_ns) == [-2_000_000_000, -1_000_000_000, 0]


LATER = timedelta(hours=5)
NEVER_WAS, TOO_LATE = datetime(1601, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
KINDS = {Kind.Int32: 1, Kind.Double: 1.5, Kind.String: "x", Kind.LocalizedText: ua.LocalizedText("x")}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 300])
@pytest.mark.parametrize("status", [0, Quality.UNCERTAIN, Quality.BAD])
@pytest.mark.parametrize(
    ("source", "server", "offset_ns", "lag_ns"),
    [
        (ARRIVED - LATER, ARRIVED, -LATER_NS, LATER_NS),
        (ARRIVED, ARRIVED - LATER, 0, -LATER_NS),
        (ARRIVED - LATER, ARRIVED - LATER, -LATER_NS, 0),
        (ARRIVED - LATER, None, -LATER_NS, 0),
        (None, ARRIVED - LATER, -LATER_NS, 0),
        (None, None, 0, 0),
        (ARRIVED - LATER, NEVER_WAS, -LATER_NS, 0),
        (ARRIVED - LATER, TOO_LATE, -LATER_NS, 0),
        (NEVER_WAS, ARRIVED - LATER, -LATER_NS, 0),
        (TOO_LATE, ARRIVED - LATER, -LATER_NS, 0),
        (NEVER_WAS, TOO_LATE, 0, 0),
    ],
)
def test_the_servers_time_is_kept_beside_the_sources(
    kind: Any, count: int, status: int, source: Any, server: Any, offset_ns: int, lag_ns: int
) -> None:
    one = value(KINDS[kind], kind, status, SourceTimestamp=source, ServerTimestamp=server)
    (column,) = decode(*[one] * count)
    assert (column.offsets_ns or array("q", [0] * count)) == array("q", [offset_ns] * count)
    assert column.lags_ns == (array("q", [lag_ns] * count) if lag_ns else None)


def test_readings_of_which_the_server_tells_no_other_time_have_none_beside_those_of_which_it_does() -> None:
    late = value(1, Kind.Int32, SourceTimestamp=ARRIVED - LATER, ServerTimestamp=ARRIVED)
    same = value(2, Kind.Int32, SourceTimestamp=ARRIVED, ServerTimestamp=ARRIVED)
    (column,) = decode(
        *[same] * 3, late, value(3, Kind.Int32), *[late] * 2, value(4, Kind.Int32, Quality.UNCERTAIN)
    )
    assert column.lags_ns == array("q", [0, 0, 0, LATER_NS, 0, LATER_NS, LATER_NS, 0])


def test_a_run_with_one_time_that_cannot_be_kept_keeps_the_others() -> None:
    times = [ARRIVED, ARRIVED + LATER, TOO_LATE, NEVER_WAS]
    values = [value(i, Kind.Int32, SourceTimestamp=ARRIVED, ServerTimestamp=time) for i, time in enumerate(times)]
    (column,) = decode(*values)
    assert column.lags_ns == array("q", [0, LATER_NS, 0, 0])
    values = [value(i, Kind.Int32, SourceTimestamp=time, ServerTimestamp=ARRIVED) for i, time in enumerate(times)]
    (column,) = decode(*values)
    assert (column.offsets_ns, column.lags_ns) == (
        array("q", [0, LATER_NS, 0, 0]),
        array("q", [0, -LATER_NS, 0, 0]),
    )


def test_the_ends_of_time_are_as_far_apart_as_a_lag_can_be() -> None:
    first, last = datetime(1970, 1, 1, tzinfo=UTC), datetime(2261, 12, 31, 23, 59, 59, tzinfo=UTC)
    (column,) = decode(
        value(1, Kind.Int32, SourceTimestamp=first, ServerTimestamp=last),
        value(1, Kind.Int32, SourceTimestamp=last, ServerTimestamp=first),
    )
    apart_ns = round((last - first).total_seconds()) * 10**9
    assert column.lags_ns == array("q", [apart_ns, -apart_ns])


@pytest.mark.parametrize("picoseconds", [{"SourcePicoseconds": 9999}, {"ServerPicoseconds": 9999}])
def test_what_is_finer_than_100_ns_is_passed_over_and_nothing_is_taken_for_another_thing(
    picoseconds: dict[str, int],
) -> None:
    """Written out: asyncua 2.1 has the fractions in another order than OPC 10000-6 §5.2.2.17."""
    mask = 0x01 | 0x04 | 0x08 | (0x10 if "SourcePicoseconds" in picoseconds else 0x20)
    source = struct.pack("<q", ticks(ARRIVED - LATER)) + (struct.pack("<H", 9999) if mask & 0x10 else b"")
    server = struct.pack("<q", ticks(ARRIVED)) + (struct.pack("<H", 9999) if mask & 0x20 else b"")
    one = struct.pack("<IBBi", 0, mask, Kind.Int32.value, 7) + source + server
    (column,) = Decoder().changes(ARRIVED_NS, [struct.pack("<i", 2) + one * 2], frozenset({0}))
    assert list(column.values or ()) == [7, 7]
    assert (column.offsets_ns, column.lags_ns) == (array("q", [-LATER_NS] * 2), array("q", [LATER_NS] * 2))


def ticks(time: datetime) -> int:
    return (time - NEVER_WAS) // timedelta(microseconds=1) * 10


def test_microseconds_are_kept() -> None:
    (column,) = decode(value(1, Kind.Int32, SourceTimestamp=ARRIVED + timedelta(microseconds=1)))
    assert column.offsets_ns is not None
    assert list(column.offsets_ns) == [1_000]


@pytest.mark.parametrize(
    "told", [datetime(1601, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)]
)
def test_a_time_that_is_none_counts_as_not_told(told: datetime) -> None:
    (column,) = decode(value(1, Kind.Int32, SourceTimestamp=told))
    assert column.offsets_ns is None


def test_a_value_without_status_is_good() -> None:
    (column,) = decode(ua.DataValue(ua.Variant(1, Kind.Int32), None))
    assert column.statuses is None


def test_each_type_has_one_column() -> None:
    columns = decode(*(value(n, kind) for n in range(5) for kind in (Kind.Int32, Kind.Double)))
    assert [(column.data_type, list(column.points)) for column in columns] == [
        (DataType.INT32, [0, 2, 4, 6, 8]),
        (DataType.FLOAT64, [1, 3, 5, 7, 9]),
    ]


def test_more_values_than_anybody_asks_for_void_the_message() -> None:
    item = struct.pack("<IBBb", 0, 0x01, Kind.SByte.value, 5)
    count = 1_000_001
    with pytest.raises(MalformedError, match="more than 1000000 elements"):
        Decoder().changes(ARRIVED_NS, [struct.pack("<i", count) + item * count], frozenset({0}))
