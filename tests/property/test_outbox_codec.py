"""What is stored comes back bit by bit; what is damaged is found out."""

import struct
import zlib
from array import array
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import OutboxCorruptError
from edge_agent.model import Column, DataType, DeviceId, ReadingBatch
from edge_agent.outbox import codec

DEVICE = DeviceId("press-01")
POINTS = 50
times = st.integers(-(2**63), 2**63 - 1)


def values_of(data_type: DataType, count: int) -> st.SearchStrategy[Any]:
    if data_type is DataType.NULL:
        return st.none()
    if data_type is DataType.STRING:  # lone surrogates, too: a driver may decode with surrogateescape
        return st.lists(st.text(st.characters(exclude_categories=())), min_size=count, max_size=count)
    if data_type is DataType.BYTES:
        return st.lists(st.binary(max_size=20), min_size=count, max_size=count)
    size = array(data_type.typecode).itemsize * count  # any bits: each NaN, infinity and subnormal number
    return st.binary(min_size=size, max_size=size).map(lambda raw: array(data_type.typecode, raw))


@st.composite
def columns(draw: st.DrawFn) -> Column:
    count = draw(st.integers(0, 12))
    points = array("H", draw(st.lists(st.integers(0, POINTS - 1), min_size=count, max_size=count)))
    data_type = draw(st.sampled_from(DataType))
    statuses = draw(st.none() | st.lists(st.integers(0, 2**32 - 1), min_size=count, max_size=count))
    offsets = draw(st.none() | st.lists(times, min_size=count, max_size=count))
    lags = draw(st.none() | st.lists(times, min_size=count, max_size=count))
    return Column(
        data_type,
        points,
        draw(values_of(data_type, count)),
        None if statuses is None else array("I", statuses),
        None if offsets is None else array("q", offsets),
        None if lags is None else array("q", lags),
    )


batches = st.lists(
    st.builds(ReadingBatch, st.just(DEVICE), times, st.lists(columns(), max_size=4).map(tuple)), max_size=5
)


def bits(sequence: Any) -> Any:
    """Return something that compares NaN by its bits."""
    return (sequence.typecode, sequence.tobytes()) if isinstance(sequence, array) else sequence


def plain(of: Any) -> list[Any]:
    return [
        (b.device, b.time_ns, [
            (c.data_type, *map(bits, (c.points, c.values, c.statuses, c.offsets_ns, c.lags_ns))) for c in b.columns
        ])
        for b in of
    ]  # fmt: skip


def read_back(body: bytes) -> tuple[ReadingBatch, ...]:
    return codec.decode(body, codec.checksum(body), DEVICE, POINTS)


@given(batches)
def test_what_is_stored_comes_back_bit_by_bit(stored: list[ReadingBatch]) -> None:
    assert plain(read_back(codec.encode(stored))) == plain(stored)


@given(st.binary(max_size=200))
def test_any_bytes_give_batches_or_a_corrupt_error(body: bytes) -> None:
    with pytest.raises(OutboxCorruptError):
        read_back(body)


@given(st.binary(max_size=200))
def test_any_bytes_that_decompress_give_batches_or_a_corrupt_error(raw: bytes) -> None:
    with suppress(OutboxCorruptError):
        assert read_back(zlib.compress(raw)) or raw[4:8] == bytes(4)


@given(batches, st.data())
def test_a_changed_byte_behind_a_right_checksum_is_never_another_error(
    stored: list[ReadingBatch], data: st.DataObject
) -> None:
    raw = bytearray(zlib.decompress(codec.encode(stored)))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    with suppress(OutboxCorruptError):
        read_back(zlib.compress(bytes(raw)))


@given(batches, st.data())
def test_a_changed_byte_is_found(stored: list[ReadingBatch], data: st.DataObject) -> None:
    body = bytearray(codec.encode(stored))
    crc = codec.checksum(bytes(body))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(OutboxCorruptError, match="checksum"):
        codec.decode(bytes(body), crc, DEVICE, POINTS)


def test_more_or_less_than_one_body_is_refused() -> None:
    body = codec.encode([ReadingBatch(DEVICE, 1, (Column.bad([1], 0x80000000),))])
    for damaged in (body + b"x", body[:-1], zlib.compress(zlib.decompress(body) + b"x"), b""):
        with pytest.raises(OutboxCorruptError):
            read_back(damaged)


def test_a_reading_of_a_point_that_is_not_there_is_refused() -> None:
    body = codec.encode([ReadingBatch(DEVICE, 1, (Column.bad([7], 0x80000000),))])
    assert codec.decode(body, codec.checksum(body), DEVICE, 8)
    with pytest.raises(OutboxCorruptError, match="point"):
        codec.decode(body, codec.checksum(body), DEVICE, 7)


def test_the_form_on_disk_is_the_documented_one() -> None:
    column = Column(
        DataType.INT16, array("H", [3, 4]), array("h", [-2, 5]), array("I", [0, 1]), array("q", [0, 9])
    )
    raw = zlib.decompress(codec.encode([ReadingBatch(DEVICE, 77, (column,)), ReadingBatch(DEVICE, 78, (column,))]))
    body = struct.pack("<BBI2h2I2q", 4, 3, 0, -2, 5, 0, 1, 0, 9)
    assert raw == (
        struct.pack("<III2H", 1, 2, 2, 3, 4)
        + struct.pack("<qH", 77, 1) + body
        + struct.pack("<qH", 78, 1) + body
    )  # fmt: skip


def test_lags_take_room_only_where_there_are_some() -> None:
    points, values, lags = array("H", [3, 4]), array("h", [-2, 5]), array("q", [0, 9])
    columns = (
        Column(DataType.INT16, points, values, lags_ns=lags),
        Column(DataType.INT16, points, values),
    )
    raw = zlib.decompress(codec.encode([ReadingBatch(DEVICE, 77, columns)]))
    told, others = struct.pack("<BBI2h2q", 4, 4, 0, -2, 5, 0, 9), struct.pack("<BBI2h", 4, 0, 0, -2, 5)
    assert raw == struct.pack("<III2H", 1, 1, 2, 3, 4) + struct.pack("<qH", 77, 2) + told + others


@pytest.mark.parametrize("flags", [8, 0x80])
def test_a_column_of_a_kind_that_nobody_wrote_is_refused(flags: int) -> None:
    raw = struct.pack("<III1H", 1, 1, 1, 3) + struct.pack("<qH", 77, 1) + struct.pack("<BBIh", 4, flags, 0, 5)
    with pytest.raises(OutboxCorruptError, match="unknown kind"):
        read_back(zlib.compress(raw))


def test_a_machine_of_the_other_byte_order_writes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    column = Column(DataType.INT32, array("H", [1]), array("i", [258]))
    swapped = Column(DataType.INT32, array("H", [256]), array("i", [0x02010000]))  # 1 and 258 with bytes swapped
    ours = codec.encode([ReadingBatch(DEVICE, 5, (column,))])
    monkeypatch.setattr(codec, "_IS_BIG_ENDIAN", True)
    assert codec.encode([ReadingBatch(DEVICE, 5, (swapped,))]) == ours
    (back,) = codec.decode(ours, codec.checksum(ours), DEVICE, 300)
    assert back.columns[0].values == swapped.values
    assert swapped.points[0] == 256, "what is encoded is not changed"


def test_a_list_of_points_is_stored_once() -> None:
    points = array("H", range(40))
    many = [ReadingBatch(DEVICE, i, (Column(DataType.BOOL, points[:], array("B", bytes(40))),)) for i in range(50)]
    assert len(zlib.decompress(codec.encode(many))) == 8 + 4 + 80 + 50 * (10 + 6 + 40)
    (first, second, *_) = read_back(codec.encode(many))
    assert first.columns[0].points is second.columns[0].points
