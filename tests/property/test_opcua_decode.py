from datetime import UTC, datetime
from typing import Any

from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model import DeviceId, ReadingBatch
from edge_agent.testing.conformance import check_batch
from edge_agent_opcua.decode import Decoder

Kind = ua.VariantType
times = st.none() | st.datetimes(datetime(1601, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy adds the zone
contents = st.one_of(
    st.tuples(st.just(Kind.Double), st.floats()),
    st.tuples(st.just(Kind.Float), st.floats(width=32)),
    st.tuples(st.just(Kind.Int64), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just(Kind.UInt64), st.integers(0, 2**64 - 1)),
    st.tuples(st.just(Kind.Boolean), st.booleans()),
    st.tuples(st.just(Kind.String), st.none() | st.text(st.characters(exclude_categories=()))),
    st.tuples(st.just(Kind.ByteString), st.none() | st.binary()),
    st.tuples(st.just(Kind.DateTime), times),
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
    columns = Decoder().columns(now_ns, pairs)
    check_batch(ReadingBatch(DeviceId("d"), now_ns, columns))
    assert len({column.data_type for column in columns}) == len(columns)
    assert sorted(point for column in columns for point in column.points) == sorted(point for point, _ in pairs)
    for column in columns:
        for text in column.values or ():
            assert not isinstance(text, str) or text.encode() is not None
