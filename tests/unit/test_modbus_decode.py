"""From payloads to columns."""

import math
import struct

import pytest

from edge_agent.model import Column, DataType, Quality
from edge_agent_modbus.decode import ByteOrder, Source, ValueType, compile_decoder, join_columns
from edge_agent_modbus.pdu import Table


def holding(index: int, address: int, value_type: ValueType, **keys: object) -> Source:
    return Source(index, Table.HOLDING, address, value_type, **keys)  # type: ignore[arg-type]


def readings(columns: tuple[Column, ...]) -> dict[int, object]:
    return {
        point: value
        for column in columns
        for point, value in zip(column.points, column.values or [None] * len(column), strict=True)
    }


@pytest.mark.parametrize(
    ("order", "payload"),
    [
        (ByteOrder.ABCD, "12345678"),
        (ByteOrder.CDAB, "56781234"),
        (ByteOrder.BADC, "34127856"),
        (ByteOrder.DCBA, "78563412"),
    ],
)
def test_the_four_byte_orders_of_two_registers(order: ByteOrder, payload: str) -> None:
    decode = compile_decoder([holding(0, 0, ValueType.UINT32, byte_order=order)], 0, 2)
    assert readings(decode(bytes.fromhex(payload))) == {0: 0x12345678}


@pytest.mark.parametrize(
    ("order", "payload"),
    [
        (ByteOrder.ABCD, "0123456789abcdef"),
        (ByteOrder.CDAB, "cdef89ab45670123"),
        (ByteOrder.BADC, "23016745ab89efcd"),
        (ByteOrder.DCBA, "efcdab8967452301"),
    ],
)
def test_the_four_byte_orders_of_four_registers(order: ByteOrder, payload: str) -> None:
    decode = compile_decoder([holding(0, 0, ValueType.UINT64, byte_order=order)], 0, 4)
    assert readings(decode(bytes.fromhex(payload))) == {0: 0x0123456789ABCDEF}


@pytest.mark.parametrize(
    ("order", "value"), [("ABCD", 0x1234), ("CDAB", 0x1234), ("BADC", 0x3412), ("DCBA", 0x3412)]
)
def test_one_register_has_bytes_to_swap_and_no_words(order: str, value: int) -> None:
    decode = compile_decoder([holding(0, 0, ValueType.UINT16, byte_order=ByteOrder(order))], 0, 1)
    assert readings(decode(b"\x12\x34")) == {0: value}


def test_types_orders_and_gaps_side_by_side_in_one_block() -> None:
    sources = [
        holding(0, 100, ValueType.FLOAT32),
        holding(1, 102, ValueType.INT16),
        holding(2, 104, ValueType.FLOAT64, byte_order=ByteOrder.DCBA),
        holding(3, 108, ValueType.INT32, byte_order=ByteOrder.CDAB),
        holding(4, 110, ValueType.BOOL, bit=15),
        holding(5, 110, ValueType.BOOL, bit=0),
        holding(6, 110, ValueType.UINT16),
    ]
    payload = struct.pack(">fhxx", 1.5, -2) + struct.pack("<d", 2.5) + struct.pack(">HHH", 3, 0xFFFF, 0x8000)
    columns = compile_decoder(sources, 100, 11)(payload)
    assert readings(columns) == {0: 1.5, 1: -2, 2: 2.5, 3: -0x10000 + 3, 4: 1, 5: 0, 6: 0x8000}
    assert len({column.data_type for column in columns}) == len(columns)


def test_points_that_overlap_read_the_same_registers_each_in_its_way() -> None:
    sources = [
        holding(0, 0, ValueType.UINT32),
        holding(1, 0, ValueType.UINT16),
        holding(2, 1, ValueType.UINT32),
        holding(3, 0, ValueType.UINT32),
    ]
    columns = compile_decoder(sources, 0, 3)(bytes.fromhex("000100020003"))
    assert readings(columns) == {0: 0x10002, 1: 1, 2: 0x20003, 3: 0x10002}


def test_the_array_of_points_is_one_object_for_every_batch() -> None:
    decode = compile_decoder([holding(0, 0, ValueType.UINT16), holding(1, 1, ValueType.UINT16)], 0, 2)
    assert decode(bytes(4))[0].points is decode(bytes(4))[0].points


def test_scaled_values_are_float64_and_decimals_come_out_as_written() -> None:
    sources = [
        holding(0, 0, ValueType.INT16, scale=0.1),
        holding(1, 1, ValueType.INT16, scale=2.0, offset=-0.5),
        holding(2, 2, ValueType.INT16, scale=0.3),
        holding(3, 3, ValueType.FLOAT64),
        holding(4, 7, ValueType.INT16, offset=100),
    ]
    payload = struct.pack(">hhhdh", 3, 7, 2, 9.25, -1)
    (column,) = compile_decoder(sources, 0, 8)(payload)
    assert column.data_type is DataType.FLOAT64
    assert readings((column,)) == {0: 0.3, 1: 13.5, 2: 0.6, 3: 9.25, 4: 99.0}
    assert column.statuses is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinities_are_bad_and_their_neighbours_are_not(value: float) -> None:
    decode = compile_decoder([holding(i, 2 * i, ValueType.FLOAT32) for i in range(3)], 0, 6)
    (column,) = decode(struct.pack(">3f", 1, value, 3))
    assert column.statuses is not None
    assert list(column.statuses) == [Quality.GOOD, Quality.BAD_OUT_OF_RANGE, Quality.GOOD]
    assert decode(struct.pack(">3f", 1, 2, 3))[0].statuses is None


def test_numbers_whose_sum_overflows_are_good() -> None:
    decode = compile_decoder([holding(i, 4 * i, ValueType.FLOAT64) for i in range(2)], 0, 8)
    assert decode(struct.pack(">2d", 1.7e308, 1.7e308))[0].statuses is None


def test_a_scale_that_overflows_makes_the_reading_bad() -> None:
    decode = compile_decoder([holding(0, 0, ValueType.FLOAT64, scale=1e300)], 0, 4)
    assert list(decode(struct.pack(">d", 1e300))[0].statuses or ()) == [Quality.BAD_OUT_OF_RANGE]


def test_strings_lose_their_padding_only() -> None:
    sources = [
        holding(0, 0, ValueType.STRING, length_bytes=8),
        holding(1, 4, ValueType.STRING, length_bytes=3),
        holding(2, 6, ValueType.STRING, length_bytes=6, byte_order=ByteOrder.BADC),
        holding(3, 9, ValueType.STRING, length_bytes=2),
        holding(4, 0, ValueType.BYTES, length_bytes=4),
    ]
    payload = "机床".encode() + b" \0" + b"abcX" + b"rPse1s" + b"\xff\xfe"
    text, raw = compile_decoder(sources, 0, 10)(payload)
    assert readings((text,)) == {0: "机床", 1: "abc", 2: "Press1", 3: ""}
    assert list(text.statuses or ()) == [0, 0, 0, Quality.BAD_DECODING_ERROR]
    assert readings((raw,)) == {4: "机".encode() + "床".encode()[:1]}


def test_coils_are_bits_least_significant_first() -> None:
    coils = [Source(i, Table.COIL, 100 + i, ValueType.BOOL) for i in range(10)]
    (column,) = compile_decoder(coils, 100, 10)(bytes([0b1100_1101, 0b1111_1101]))
    assert (column.data_type, list(column.values or ())) == (DataType.BOOL, [1, 0, 1, 1, 0, 0, 1, 1, 1, 0])


def test_columns_of_several_exchanges_become_one_per_type_with_their_own_times() -> None:
    decode = compile_decoder([holding(0, 0, ValueType.UINT16)], 0, 1)
    other = compile_decoder([holding(1, 1, ValueType.UINT16)], 1, 1)
    parts = [(100, decode(b"\0\1")), (150, (Column.bad([2], Quality.BAD_TIMEOUT),)), (200, other(b"\0\2"))]
    good, bad = join_columns(parts, 200)
    assert (list(good.points), list(good.values or ()), list(good.offsets_ns or ())) == ([0, 1], [1, 2], [-100, 0])
    assert good.statuses is None
    assert (list(bad.points), bad.data_type, list(bad.offsets_ns or ())) == ([2], DataType.NULL, [-50])
    assert list(decode(b"\0\1")[0].points) == [0], "the shared array of points was changed"
