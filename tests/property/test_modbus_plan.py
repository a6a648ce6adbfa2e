"""What holds for any points: of the plan, and of what is decoded by it."""

import math
import random
import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model import Quality
from edge_agent_modbus.decode import ByteOrder, Source, ValueType, compile_decoder
from edge_agent_modbus.pdu import Table
from edge_agent_modbus.plan import Limits, ReadRequest, plan_reads

ADDRESSES = 200
LIMITS = st.builds(Limits, st.integers(13, 125), st.integers(1, 2000))


@st.composite
def a_source(draw: st.DrawFn) -> Source:
    table = draw(st.sampled_from(Table))
    address = draw(st.integers(0, ADDRESSES))
    if table.has_bits:
        return Source(0, table, address, ValueType.BOOL)
    value_type = draw(st.sampled_from(ValueType))
    if value_type is ValueType.BOOL:
        return Source(0, table, address, value_type, bit=draw(st.integers(0, 15)))
    if not value_type.is_number:
        order = draw(st.sampled_from([ByteOrder.ABCD, ByteOrder.BADC]))
        return Source(0, table, address, value_type, order, length_bytes=draw(st.integers(1, 25)))
    scale = draw(st.sampled_from([1.0, 1.0, 0.5, -8.0]))
    return Source(0, table, address, value_type, draw(st.sampled_from(ByteOrder)), scale=scale)


@st.composite
def some_sources(draw: st.DrawFn) -> list[Source]:
    sources = draw(st.lists(a_source(), min_size=1, max_size=60))
    return [
        Source(i, s.table, s.address, s.value_type, s.byte_order, s.bit, s.length_bytes, s.scale)
        for i, s in enumerate(sources)
    ]


def arranged(body: bytes, order: ByteOrder) -> bytes:
    """Put bytes that arrived in ``order`` in the order of the standard; twice is nothing."""
    registers = [body[i : i + 2] for i in range(0, len(body), 2)]
    if order in {ByteOrder.BADC, ByteOrder.DCBA}:
        registers = [register[::-1] for register in registers]
    if order in {ByteOrder.CDAB, ByteOrder.DCBA}:
        registers.reverse()
    return b"".join(registers)


def expected(source: Source, image: bytes) -> Any:
    """Decode one point by itself, the slow way; ``image`` serves as each table."""
    if source.table.has_bits:
        return image[source.address // 8] >> source.address % 8 & 1
    body = arranged(image[2 * source.address : 2 * source.end], source.byte_order)
    if source.value_type is ValueType.BOOL:
        return int.from_bytes(body) >> source.bit & 1
    if source.value_type is ValueType.BYTES:
        return body[: source.length_bytes]
    if source.value_type is ValueType.STRING:
        try:
            return body[: source.length_bytes].rstrip(b"\0 ").decode()
        except UnicodeDecodeError:
            return Quality.BAD_DECODING_ERROR
    (value,) = struct.unpack(f">{source.value_type.format_char}", body)
    value = value * source.scale if source.is_scaled else value
    return value if math.isfinite(value) else Quality.BAD_OUT_OF_RANGE


def payload_of(request: ReadRequest, image: bytes) -> bytes:
    first, count = request.address, request.count
    if not request.table.has_bits:
        return image[2 * first : 2 * (first + count)]
    bits = [image[address // 8] >> address % 8 & 1 for address in range(first, first + count)]
    packed = sum(bit << position for position, bit in enumerate(bits))
    return packed.to_bytes((count + 7) // 8, "little")


def decoded(requests: tuple[ReadRequest, ...], image: bytes) -> dict[int, Any]:
    got: dict[int, Any] = {}
    for request in requests:
        for column in request.decode(payload_of(request, image)):
            assert column.values is not None
            for position, (index, value) in enumerate(zip(column.points, column.values, strict=True)):
                assert index not in got
                got[index] = (column.statuses[position] if column.statuses else 0) or value
    return got


@given(some_sources(), LIMITS, st.sets(st.integers(0, 59)))
def test_each_point_is_in_one_request_within_the_limits(
    sources: list[Source], limits: Limits, refused: set[int]
) -> None:
    requests = plan_reads(1, sources, refused, limits)
    assert sorted(index for request in requests for index in request.points) == list(range(len(sources)))
    for request in requests:
        assert request.count <= limits.of(request.table)
        assert len(request.points) == 1 or not refused.intersection(request.points)
        touched = {a for source in request.sources for a in range(source.address, source.end)}
        assert touched == set(range(request.address, request.address + request.count)), "reads what nobody wants"


@given(some_sources(), LIMITS, st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(
    sources: list[Source], limits: Limits, shuffler: random.Random
) -> None:
    shuffled = shuffler.sample(sources, len(sources))
    one, other = plan_reads(1, sources, set(), limits), plan_reads(1, shuffled, set(), limits)
    assert [(str(request), request.points) for request in one] == [(str(r), r.points) for r in other]


@given(some_sources(), LIMITS, st.integers(0, 2**32))
def test_every_point_gets_its_own_value(sources: list[Source], limits: Limits, seed: int) -> None:
    image = random.Random(seed).randbytes(2 * ADDRESSES + 64)
    got = decoded(plan_reads(1, sources, set(), limits), image)
    assert got == {source.index: expected(source, image) for source in sources}


@given(some_sources(), st.integers(0, 2**32))
def test_halves_of_a_request_give_what_the_whole_gives(sources: list[Source], seed: int) -> None:
    image = random.Random(seed).randbytes(2 * ADDRESSES + 64)
    for request in plan_reads(1, sources, set(), Limits()):
        parts = request.split()
        if parts:
            assert decoded(parts, image) == decoded((request,), image)


NUMBERS = {
    ValueType.INT16: st.integers(-(2**15), 2**15 - 1),
    ValueType.UINT16: st.integers(0, 2**16 - 1),
    ValueType.INT32: st.integers(-(2**31), 2**31 - 1),
    ValueType.UINT32: st.integers(0, 2**32 - 1),
    ValueType.INT64: st.integers(-(2**63), 2**63 - 1),
    ValueType.UINT64: st.integers(0, 2**64 - 1),
    ValueType.FLOAT32: st.floats(width=32, allow_nan=False, allow_infinity=False),
    ValueType.FLOAT64: st.floats(allow_nan=False, allow_infinity=False),
}


@given(st.data(), st.sampled_from(list(NUMBERS)), st.sampled_from(ByteOrder))
def test_what_was_encoded_is_decoded(data: st.DataObject, value_type: ValueType, order: ByteOrder) -> None:
    value = data.draw(NUMBERS[value_type])
    payload = arranged(struct.pack(f">{value_type.format_char}", value), order)
    source = Source(0, Table.INPUT, 5, value_type, order)
    (column,) = compile_decoder([source], 5, value_type.registers)(payload)
    assert (list(column.values or ()), column.statuses) == ([value], None)
