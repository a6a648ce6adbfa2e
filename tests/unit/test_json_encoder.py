import json
import math
from array import array
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from edge_agent.model import (
    Column,
    DataType,
    DeviceId,
    Point,
    PointName,
    PointTable,
    Quality,
    ReadingBatch,
    ReadingClass,
)
from edge_agent.outbox.rows import Row
from edge_agent.publish.json_encoder import encode_head, encode_message, encode_row, iso_time

T_NS = 1_795_420_800_123_456_789
DEVICE = DeviceId("cnc-07")
TABLE = PointTable(DEVICE, tuple(Point(PointName(name)) for name in ("a", "b", "c", "d")))


def column(data_type: DataType, points: list[int], values: Any, **more: Any) -> Column:
    if data_type.typecode:
        values = array(data_type.typecode, values)
    return Column(data_type, array("H", points), values, **more)


def batch(*columns: Column, at_us: int = 0) -> ReadingBatch:
    return ReadingBatch(DEVICE, T_NS + at_us * 1000, columns)


def row(*batches: ReadingBatch, number: int = 8123, historical: bool = False) -> Row:
    count = sum(map(len, batches))
    return Row(
        "k3f9", number, TABLE, ReadingClass.TREND, count, T_NS, T_NS, batches, historical=historical, body_bytes=1
    )


def decode(*rows: Row, code: str | None = None) -> Any:
    head = encode_head("gw-01", DEVICE, code, "k3f9")
    body = json.loads(encode_message(head, [encode_row(row) for row in rows]), parse_constant=pytest.fail)
    schema = json.loads((files("edge_agent.publish") / "schema" / "edge.data-1.json").read_text())
    jsonschema.validate(body, schema)
    return body


def points(*batches: ReadingBatch) -> Any:
    return decode(row(*batches))["rows"][0]["points"]


def test_a_message_is_exactly_what_the_design_says() -> None:
    body = decode(
        row(
            batch(
                column(DataType.FLOAT64, [0], [1200.5]),
                column(DataType.INT64, [1], [9007199254740993]),
                Column.bad([2], Quality.BAD),
            ),
            batch(column(DataType.FLOAT64, [0], [1201.0]), at_us=100_000),
        ),
        code="88.101.0042/EQ.CNC07",
    )
    assert body == {
        "schema": "edge.data/1",
        "gateway": "gw-01",
        "device": "cnc-07",
        "code": "88.101.0042/EQ.CNC07",
        "epoch": "k3f9",
        "rows": [
            {
                "row": 8123,
                "class": "trend",
                "historical": False,
                "t": iso_time(T_NS // 1000),
                "points": {
                    "a": {"v": [1200.5, 1201.0], "dt_us": [0, 100000]},
                    "b": {"v": ["9007199254740993"], "dt_us": [0]},
                    "c": {"v": [None], "dt_us": [0], "q": [2147483648]},
                },
            }
        ],
    }
    assert list(body) == ["schema", "gateway", "device", "code", "epoch", "rows"]


def test_the_code_is_left_out_where_there_is_none() -> None:
    assert "code" not in decode(row(batch(column(DataType.BOOL, [0], [1]))))


def test_several_rows_share_a_message() -> None:
    rows = [row(batch(column(DataType.UINT8, [0], [n])), number=n, historical=True) for n in (1, 2, 3)]
    body = decode(*rows)
    assert [(r["row"], r["historical"], r["points"]["a"]["v"]) for r in body["rows"]] == [
        (1, True, [1]),
        (2, True, [2]),
        (3, True, [3]),
    ]


@pytest.mark.parametrize(
    ("time_us", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_795_420_800_000_000, "2026-11-23T08:00:00.000000Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
    ],
)
def test_time_is_utc_with_microseconds(time_us: int, text: str) -> None:
    assert iso_time(time_us) == text


@pytest.mark.parametrize(
    ("data_type", "values", "written"),
    [
        (DataType.BOOL, [1, 0], [True, False]),
        (DataType.INT8, [-128, 127], [-128, 127]),
        (DataType.UINT32, [0, 4294967295], [0, 4294967295]),
        (DataType.INT64, [2**53, -(2**53)], [2**53, -(2**53)]),
        (DataType.INT64, [2**53 + 1, 7], ["9007199254740993", 7]),
        (DataType.INT64, [-(2**53) - 1, 7], ["-9007199254740993", 7]),
        (DataType.UINT64, [2**64 - 1, 0], ["18446744073709551615", 0]),
        (DataType.FLOAT32, [0.5, -0.25], [0.5, -0.25]),
        (DataType.FLOAT64, [0.1, 1e300], [0.1, 1e300]),
        (DataType.FLOAT64, [1.7e308, 1.7e308], [1.7e308, 1.7e308]),  # the sum overflows, the values do not
        (DataType.STRING, ["O1000 主轴", ""], ["O1000 主轴", ""]),
        (DataType.BYTES, [b"\x00\xff", b""], ["AP8=", ""]),
    ],
)
def test_each_data_type_has_its_json(data_type: DataType, values: Any, written: Any) -> None:
    found = points(batch(column(data_type, [0, 1], values)))
    assert [found["a"]["v"][0], found["b"]["v"][0]] == written
    assert [type(found[name]["v"][0]) for name in "ab"] == [type(value) for value in written]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("data_type", [DataType.FLOAT32, DataType.FLOAT64])
def test_what_json_cannot_say_is_null_and_bad(data_type: DataType, value: float) -> None:
    found = points(batch(column(data_type, [0, 1], [value, 2.0])))
    assert found == {
        "a": {"v": [None], "dt_us": [0], "q": [Quality.BAD_ENCODING_ERROR]},
        "b": {"v": [2.0], "dt_us": [0]},
    }


def test_text_that_is_not_unicode_is_null_and_bad() -> None:
    found = points(batch(column(DataType.STRING, [0, 1], ["\udc80", "good"])))
    assert found["a"] == {"v": [None], "dt_us": [0], "q": [Quality.BAD_ENCODING_ERROR]}
    assert found["b"] == {"v": ["good"], "dt_us": [0]}


def test_a_bad_status_of_the_device_outlives_an_unwritable_value() -> None:
    bad = column(DataType.FLOAT64, [0], [math.nan], statuses=array("I", [Quality.BAD_SENSOR_FAILURE]))
    assert points(batch(bad))["a"]["q"] == [Quality.BAD_SENSOR_FAILURE]


@pytest.mark.parametrize(
    "column_",
    [
        column(DataType.STRING, [0], ["BadTimeout: no answer"], statuses=array("I", [Quality.BAD_TIMEOUT])),
        column(DataType.FLOAT32, [0], [17.0], statuses=array("I", [Quality.BAD_TIMEOUT])),
        Column.bad([0], Quality.BAD_TIMEOUT),
    ],
)
def test_peer_defect_03_a_bad_reading_is_a_null_with_its_quality_never_a_text(column_: Column) -> None:
    assert points(batch(column_)) == {"a": {"v": [None], "dt_us": [0], "q": [Quality.BAD_TIMEOUT]}}


def test_uncertain_readings_keep_value_and_quality() -> None:
    uncertain = column(DataType.FLOAT64, [0, 1], [1.0, 2.0], statuses=array("I", [Quality.UNCERTAIN, 0]))
    found = points(batch(uncertain))
    assert found == {
        "a": {"v": [1.0], "dt_us": [0], "q": [Quality.UNCERTAIN]},
        "b": {"v": [2.0], "dt_us": [0]},
    }


def test_quality_has_a_place_for_each_reading_once_one_is_not_good() -> None:
    bad = column(DataType.FLOAT64, [0, 1], [0.0, 2.0], statuses=array("I", [Quality.BAD, 0]))
    found = points(batch(column(DataType.FLOAT64, [0, 1], [1.0, 1.0])), batch(bad, at_us=5))
    assert found == {
        "a": {"v": [1.0, None], "dt_us": [0, 5], "q": [0, Quality.BAD]},
        "b": {"v": [1.0, 2.0], "dt_us": [0, 5]},
    }


def test_a_servers_time_is_told_relative_to_the_readings() -> None:
    hour_ns = 3_600_000_000_000
    told = column(
        DataType.FLOAT64,
        [0, 1],
        [1.0, 2.0],
        offsets_ns=array("q", [-hour_ns, 0]),
        lags_ns=array("q", [hour_ns, 0]),
    )
    alone = column(DataType.INT8, [2], [3], lags_ns=array("q", [-1_000]))
    found = points(batch(told, alone), batch(column(DataType.FLOAT64, [0, 1], [1.5, 2.5]), at_us=5))
    assert found == {
        "a": {"v": [1.0, 1.5], "dt_us": [-3_600_000_000, 5], "lag_us": [3_600_000_000, 0]},
        "b": {"v": [2.0, 2.5], "dt_us": [0, 5]},
        "c": {"v": [3], "dt_us": [0], "lag_us": [-1]},
    }


def test_a_servers_time_is_exact_to_the_microsecond() -> None:
    """Both times are cut to microseconds, not what lies between them; T_NS ends in 789 ns."""
    found = points(batch(column(DataType.INT8, [0, 1, 2], [1, 2, 3], lags_ns=array("q", [210, 211, -790]))))
    assert found["a"] == {"v": [1], "dt_us": [0]}
    assert found["b"] == {"v": [2], "dt_us": [0], "lag_us": [1]}
    assert found["c"] == {"v": [3], "dt_us": [0], "lag_us": [-1]}


def test_source_times_are_relative_to_the_rows_first_reading() -> None:
    offsets = column(DataType.FLOAT64, [0, 1], [1.0, 2.0], offsets_ns=array("q", [-2_500_000, 1_000]))
    found = points(batch(column(DataType.FLOAT64, [0, 1], [0.0, 0.0])), batch(offsets, at_us=10))
    assert found["a"]["dt_us"] == [0, 10 - 2500]
    assert found["b"]["dt_us"] == [0, 11]


def test_two_requests_of_one_device_take_turns() -> None:
    batches = [
        batch(column(DataType.UINT16, [0, 1] if k % 2 == 0 else [2, 3], [k, 10 + k]), at_us=k) for k in range(4)
    ]
    assert points(*batches) == {
        "a": {"v": [0, 2], "dt_us": [0, 2]},
        "b": {"v": [10, 12], "dt_us": [0, 2]},
        "c": {"v": [1, 3], "dt_us": [1, 3]},
        "d": {"v": [11, 13], "dt_us": [1, 3]},
    }


def test_a_point_that_changes_its_column_keeps_the_order_of_acquisition() -> None:
    assert points(
        batch(column(DataType.FLOAT64, [0, 1], [1.0, 2.0])),
        batch(column(DataType.FLOAT64, [1], [3.0]), Column.bad([0], Quality.BAD), at_us=1),
        batch(column(DataType.FLOAT64, [0, 1], [4.0, 5.0]), at_us=2),
    ) == {
        "a": {"v": [1.0, None, 4.0], "dt_us": [0, 1, 2], "q": [0, Quality.BAD, 0]},
        "b": {"v": [2.0, 3.0, 5.0], "dt_us": [0, 1, 2]},
    }


def test_several_readings_of_a_point_in_one_column_keep_their_order() -> None:
    times = {"offsets_ns": array("q", [0, 0, 1000]), "lags_ns": array("q", [0, 0, 2000])}
    samples = column(DataType.INT32, [0, 1, 0], [1, 2, 3], **times)
    assert points(batch(samples)) == {
        "a": {"v": [1, 3], "dt_us": [0, 1], "lag_us": [0, 2]},
        "b": {"v": [2], "dt_us": [0]},
    }


def test_a_32_bit_float_is_the_shortest_decimal_that_reads_back_as_it() -> None:
    values = [61.2, 3.4028235e38, 16777216.0, 1 / 3]
    found = points(batch(column(DataType.FLOAT32, [0, 1, 2, 3], values)))
    assert [found[name]["v"][0] for name in "abcd"] == [61.2, 3.4028235e38, 16777216.0, 0.33333334]
