from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model import Column, DataType, DeviceId, ReadingBatch, is_bad
from edge_agent.testing.conformance import check_batch
from edge_agent_opcua.binary import BuiltIn, MalformedError, Structure, Value
from edge_agent_opcua.decode import Decoder
from edge_agent_opcua.node_id import NodeAddress
from edge_agent_opcua.pick import picker
from edge_agent_opcua.structure import Definition, FieldType, Form

Kind = ua.VariantType
moments = st.datetimes(datetime(1601, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy adds the zone
times = st.none() | moments
not_utf8 = st.binary().map(lambda raw: raw.decode(errors="surrogateescape"))
contents = st.one_of(
    st.tuples(st.just(Kind.Double), st.floats()),
    st.tuples(st.just(Kind.Float), st.floats(width=32)),
    st.tuples(st.just(Kind.Int64), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just(Kind.UInt64), st.integers(0, 2**64 - 1)),
    st.tuples(st.just(Kind.Boolean), st.booleans()),
    st.tuples(st.just(Kind.String), st.none() | st.text() | not_utf8),
    st.tuples(st.just(Kind.ByteString), st.none() | st.binary()),
    st.tuples(st.just(Kind.DateTime), moments),
    st.tuples(st.just(Kind.Guid), st.uuids()),
    st.tuples(st.just(Kind.Int32), st.lists(st.integers(-5, 5), min_size=1)),
    st.tuples(st.just(Kind.Null), st.none()),
)
values = st.builds(
    lambda content, status, source, server: ua.DataValue(
        ua.Variant(content[1], content[0]), status, SourceTimestamp=source, ServerTimestamp=server
    ),
    contents,
    st.none() | st.integers(0, 2**32 - 1).map(ua.StatusCode),
    times,
    times,
)


@given(st.lists(st.tuples(st.integers(0, 9), values), min_size=1, max_size=30))
def test_whatever_a_server_sends_becomes_one_reading_each(pairs: list[tuple[int, Any]]) -> None:
    now_ns = 1_790_000_000_000_000_000
    items = [ua.MonitoredItemNotification(point, value) for point, value in pairs]
    body = bytes(struct_to_binary(ua.DataChangeNotification(MonitoredItems=items)))
    columns = Decoder().changes(now_ns, [body], frozenset(range(10)))
    check_batch(ReadingBatch(DeviceId("d"), now_ns, columns))
    assert len({column.data_type for column in columns}) == len(columns)
    assert sorted(point for column in columns for point in column.points) == sorted(point for point, _ in pairs)
    for column in columns:
        for text in column.values or ():
            assert not isinstance(text, str) or text.encode() is not None


@given(st.lists(st.tuples(st.integers(0, 9), values), max_size=30), st.integers(0, 9))
def test_a_run_is_read_as_its_values_are_read_one_by_one(pairs: list[tuple[int, Any]], times: int) -> None:
    """The same values in another company: alone, and in rows of their like, the readings do not change."""
    now_ns = 1_790_000_000_000_000_000
    rows = [(point, value) for point, value in pairs for _ in range(times)]
    items = [ua.MonitoredItemNotification(point, value) for point, value in rows]
    body = bytes(struct_to_binary(ua.DataChangeNotification(MonitoredItems=items)))
    together = _told(Decoder().changes(now_ns, [body], frozenset(range(10))))
    alone: Counter[str] = Counter()
    decoder = Decoder()
    for item in items:
        body = bytes(struct_to_binary(ua.DataChangeNotification(MonitoredItems=[item])))
        alone += _told(decoder.changes(now_ns, [body], frozenset(range(10))))
    assert together == alone


def _told(columns: Sequence[Column]) -> Counter[str]:
    told: Counter[str] = Counter()
    for column in columns:
        for i, point in enumerate(column.points):
            status = column.statuses[i] if column.statuses is not None else 0
            content = None if is_bad(status) or column.values is None else column.values[i]
            offset_ns = column.offsets_ns[i] if column.offsets_ns is not None else 0
            lag_ns = column.lags_ns[i] if column.lags_ns is not None else 0
            told[f"{point} {column.data_type.word} {content!r} {status} {offset_ns} {lag_ns}"] += 1
    return told


fields = st.lists(
    st.builds(
        FieldType,
        st.text(max_size=3),
        st.integers(0, 25),
        st.none() | st.just(NodeAddress(1)),
        st.booleans(),
        st.booleans(),
    ),
    max_size=5,
)


@given(st.sampled_from(Form), fields, st.binary(max_size=100), st.lists(st.integers(0, 3) | st.text(max_size=3)))
def test_any_bytes_in_any_structure_are_a_reading(
    form: Form, parts: list[FieldType], body: bytes, path: list[int | str]
) -> None:
    definitions = {NodeAddress(1): Definition(form, tuple(parts))}
    value = Value(BuiltIn.EXTENSION_OBJECT, Structure(NodeAddress(1), body))
    data_type, _, status = picker(path, definitions, None, is_field=True)(value, 0)
    assert data_type is not DataType.NULL or is_bad(status)


@given(st.binary(max_size=200))
def test_any_bytes_are_readings_or_malformed(body: bytes) -> None:
    with suppress(MalformedError):
        columns = Decoder().changes(1, [body], frozenset(range(10)))
        if columns:
            check_batch(ReadingBatch(DeviceId("d"), 1, columns))
