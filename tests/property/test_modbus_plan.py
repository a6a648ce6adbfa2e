"""What holds for any points: of the plan, and of what is decoded by it."""

import math
import random
import struct
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model import Quality
from edge_agent_modbus.cost import LineSpeed
from edge_agent_modbus.decode import ByteOrder, Source, ValueType, compile_decoder
from edge_agent_modbus.pdu import Table
from edge_agent_modbus.plan import Gap, Limits, ReadRequest, plan_reads

ADDRESSES = 200
LIMITS = st.builds(Limits, st.integers(13, 125), st.integers(1, 2000), st.booleans())
SPEEDS = st.builds(LineSpeed, byte_ns=st.integers(0, 2_000_000), answer_ns=st.integers(0, 20_000_000))
GAPS = st.builds(
    lambda table, address, size: Gap(table, address, address + size),
    st.sampled_from(Table),
    st.integers(0, ADDRESSES),
    st.integers(1, 9),
)

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
TYPES = [ValueType.BOOL, *NUMBERS, ValueType.STRING, ValueType.BYTES]
"""Those that ``expected`` decodes the slow way; the planner looks at nothing but their size."""


@st.composite
def a_source(draw: st.DrawFn) -> Source:
    table = draw(st.sampled_from(Table))
    address = draw(st.integers(0, ADDRESSES))
    if table.has_bits:
        return Source(0, table, address, ValueType.BOOL)
    value_type = draw(st.sampled_from(TYPES))
    if value_type is ValueType.BOOL:
        return Source(0, table, address, value_type, bit=draw(st.integers(0, 15)))
    if not value_type.is_number:
        order = draw(st.sampled_from([ByteOrder.ABCD, ByteOrder.BADC]))
        return Source(0, table, address, value_type, order, length_bytes=draw(st.integers(1, 25)))
    scale = draw(st.sampled_from([1.0, 1.0, 0.5, -8.0]))
    return Source(0, table, address, value_type, draw(st.sampled_from(ByteOrder)), scale=scale)


def a_source_of(table: Table) -> st.SearchStrategy[Source]:
    value_type = (
        st.just(ValueType.BOOL) if table.has_bits else st.sampled_from([ValueType.UINT16, ValueType.FLOAT64])
    )
    farthest = 900 if table.has_bits else 60
    return st.builds(Source, st.just(0), st.just(table), st.integers(0, farthest), value_type)


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


def time_ns(requests: Iterable[ReadRequest], speed: LineSpeed) -> int:
    return sum(speed.exchange_ns(request.table, request.count) for request in requests)


@given(some_sources(), LIMITS, SPEEDS, st.sets(st.integers(0, 59)), st.lists(GAPS, max_size=3))
def test_each_point_is_in_one_request_within_the_limits(
    sources: list[Source], limits: Limits, speed: LineSpeed, refused: set[int], barred: list[Gap]
) -> None:
    requests = plan_reads(1, sources, refused, limits, speed=speed, barred=barred)
    assert sorted(index for request in requests for index in request.points) == list(range(len(sources)))
    walls = {(gap.table, address) for gap in barred for address in range(gap.address, gap.end)}
    walls |= {(s.table, address) for s in sources if s.index in refused for address in range(s.address, s.end)}
    for request in requests:
        assert request.count <= limits.of(request.table)
        assert len(request.points) == 1 or not refused.intersection(request.points)
        touched = {a for source in request.sources for a in range(source.address, source.end)}
        extra = set(range(request.address, request.address + request.count)) - touched
        assert touched <= set(range(request.address, request.address + request.count))
        assert extra == {address for gap in request.gaps for address in range(gap.address, gap.end)}
        assert limits.gaps or not extra, "reads what nobody wants"
        assert walls.isdisjoint((request.table, address) for address in extra), "reads what the device refuses"


@given(some_sources(), LIMITS, SPEEDS, st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(
    sources: list[Source], limits: Limits, speed: LineSpeed, shuffler: random.Random
) -> None:
    shuffled = shuffler.sample(sources, len(sources))
    one = plan_reads(1, sources, set(), limits, speed=speed)
    other = plan_reads(1, shuffled, set(), limits, speed=speed)
    assert [(str(request), request.points) for request in one] == [(str(r), r.points) for r in other]


@given(some_sources(), LIMITS, SPEEDS)
def test_filling_gaps_never_costs_time(sources: list[Source], limits: Limits, speed: LineSpeed) -> None:
    filled = plan_reads(1, sources, set(), replace(limits, gaps=True), speed=speed)
    unfilled = plan_reads(1, sources, set(), replace(limits, gaps=False), speed=speed)
    assert time_ns(filled, speed) <= time_ns(unfilled, speed)


def least_ns(sources: list[Source], most: int, speed: LineSpeed) -> int:
    """Try every way to share out ``sources`` (one table)."""

    def cheapest(groups: list[list[Source]], rest: list[Source]) -> int:
        if not rest:
            sizes = [max(s.end for s in group) - min(s.address for s in group) for group in groups]
            fits = all(size <= most for size in sizes)
            return sum(speed.exchange_ns(rest_of.table, size) for size in sizes) if fits else NEVER_NS
        first, *others = rest
        joined = [
            cheapest([*groups[:i], [*group, first], *groups[i + 1 :]], others) for i, group in enumerate(groups)
        ]
        return min([*joined, cheapest([*groups, [first]], others)])

    rest_of = sources[0]
    return cheapest([], sources)


NEVER_NS = 10**18


@given(st.sampled_from([Table.COIL, Table.INPUT]), st.data(), SPEEDS)
def test_no_other_plan_takes_less_time(table: Table, data: st.DataObject, speed: LineSpeed) -> None:
    sources = [
        replace(source, index=index, table=table)
        for index, source in enumerate(data.draw(st.lists(a_source_of(table), min_size=1, max_size=6)))
    ]
    most = data.draw(st.integers(max(source.size for source in sources), 900 if table.has_bits else 40))
    requests = plan_reads(1, sources, set(), Limits(most, most, gaps=True), speed=speed)
    assert time_ns(requests, speed) == least_ns(sources, most, speed)


@given(some_sources(), LIMITS, st.integers(0, 2**32))
def test_every_point_gets_its_own_value(sources: list[Source], limits: Limits, seed: int) -> None:
    image = random.Random(seed).randbytes(2 * ADDRESSES + 64)
    got = decoded(plan_reads(1, sources, set(), limits), image)
    assert got == {source.index: expected(source, image) for source in sources}


@given(some_sources(), LIMITS, st.integers(0, 2**32))
def test_halves_of_a_request_give_what_the_whole_gives(sources: list[Source], limits: Limits, seed: int) -> None:
    image = random.Random(seed).randbytes(2 * ADDRESSES + 64)
    for request in plan_reads(1, sources, set(), limits):
        parts = request.split()
        assert len(parts) <= 2 or not request.gaps
        if parts:
            assert decoded(parts, image) == decoded((request,), image)


@given(st.data(), st.sampled_from(list(NUMBERS)), st.sampled_from(ByteOrder))
def test_what_was_encoded_is_decoded(data: st.DataObject, value_type: ValueType, order: ByteOrder) -> None:
    value = data.draw(NUMBERS[value_type])
    payload = arranged(struct.pack(f">{value_type.format_char}", value), order)
    source = Source(0, Table.INPUT, 5, value_type, order)
    (column,) = compile_decoder([source], 5, value_type.registers)(payload)
    assert (list(column.values or ()), column.statuses) == ([value], None)
