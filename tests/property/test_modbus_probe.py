"""What a probe concludes: nothing that was not read, and the truth is always among what fits."""

import asyncio
import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from math import isfinite, log2

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edge_agent.clock import SystemClock
from edge_agent.errors import DeviceUnavailableError, ProbeError
from edge_agent.model import Quality
from edge_agent.probing import HeldLine, Probing
from edge_agent_modbus.encode import encode, read_again
from edge_agent_modbus.pdu import Table
from edge_agent_modbus.probe.known import Tolerance, parse_known
from edge_agent_modbus.probe.layout import layouts, point
from edge_agent_modbus.probe.match import SCALES, Placing, fits, places, windows
from edge_agent_modbus.probe.ranges import Found, find_ranges, samples
from edge_agent_modbus.probe.run import run
from edge_agent_modbus.source import ByteOrder, Encoding, Source, ValueType
from edge_agent_modbus.times import FORMS

NUMBERS = [kind for kind in ValueType if kind.is_number]
ANSWERS = [
    bytes.fromhex(answer)
    for answer in (
        "0302002a",
        "0304002a0001",
        "010101",
        "8302",
        "8306",
        "830b",
        "8101",
        "ab01",
        "2b0e0181000001000141",
    )
]
TIMES = [kind for kind in ValueType if kind.is_time]
SHIFTS = {Placing.AS_WRITTEN: 0, Placing.LOWER: 1, Placing.HIGHER: -1}
REGISTERS = [Table.HOLDING, Table.INPUT]


class QuickClock(SystemClock):
    """Each look at it finds a second gone, and nobody has to wait."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0

    def monotonic_s(self) -> float:
        self._now_s += 1.0
        return self._now_s

    async def sleep(self, seconds: float) -> None:
        await super().sleep(0.0)


def words_at(table: Table, address: int, registers: bytes) -> dict[tuple[Table, int], int]:
    return {
        (table, address + at): int.from_bytes(registers[2 * at : 2 * at + 2]) for at in range(len(registers) // 2)
    }


def same(one: Source, other: Source) -> bool:
    """Whether both read the same; of one register, two orders each are the same."""
    orders = [source.byte_order.swaps_pairs ^ source.byte_order.is_little for source in (one, other)]
    is_like = orders[0] == orders[1] if one.size == 1 else one.byte_order is other.byte_order
    return is_like and replace(one, byte_order=ByteOrder.ABCD) == replace(other, byte_order=ByteOrder.ABCD)


@settings(deadline=None)  # the machine may be busy
@given(
    kind=st.sampled_from(NUMBERS),
    order=st.sampled_from(ByteOrder),
    scale=st.sampled_from(list(SCALES)),
    table=st.sampled_from(REGISTERS),
    said=st.sampled_from(REGISTERS),
    placing=st.sampled_from(list(SHIFTS)),
    high=st.booleans(),
    body=st.binary(min_size=8, max_size=8),
)
def test_the_way_a_number_is_kept_is_among_what_fits(
    kind: ValueType,
    order: ByteOrder,
    scale: float,
    table: Table,
    said: Table,
    placing: Placing,
    high: bool,
    body: bytes,
) -> None:
    is_half = kind in {ValueType.INT8, ValueType.UINT8}
    truth = Source(
        0, table, 10, kind, ByteOrder.ABCD if is_half else order, scale=scale, high_byte=high and is_half
    )
    registers = body[: 2 * truth.size]
    reading, status = read_again(truth, registers)
    assume(status == Quality.GOOD and isfinite(reading))
    known = parse_known(f"{said.word}:{10 + SHIFTS[placing]}={reading!r}")
    found = fits(known, words_at(table, 10, registers), Tolerance())
    matching = [fit for fit in found if same(fit.source, truth) and fit.placing is placing]
    assert matching
    assert all(fit.reading == reading for fit in matching)
    assert [fit.doubt for fit in found] == sorted(fit.doubt for fit in found)


@settings(deadline=None)  # the machine may be busy
@given(
    text=st.text(st.characters(codec="gbk", exclude_characters="\0", exclude_categories=["Cc", "Zs"]), min_size=2),
    order=st.sampled_from(ByteOrder),
    encoding=st.sampled_from([Encoding.UTF_8, Encoding.GBK]),
    more=st.integers(0, 8),
)
def test_the_way_a_text_is_kept_is_among_what_fits(
    text: str, order: ByteOrder, encoding: Encoding, more: int
) -> None:
    size = (len(text.encode(encoding.value)) + 1) // 2 * 2
    assume(size + 2 * more <= 200 and parse_known(f"holding:10={text}").value == text)
    truth = Source(0, Table.HOLDING, 10, ValueType.STRING, order, length_bytes=size + 2 * more, encoding=encoding)
    words = words_at(Table.HOLDING, 10, encode(truth, text))
    found = fits(parse_known(f"holding:10={text}"), words, Tolerance())
    assert any(fit.source.byte_order is order and fit.source.address == 10 for fit in found)
    assert all(read_again(fit.source, encode(fit.source, text))[0] == text for fit in found)


@settings(deadline=None)  # the machine may be busy
@given(
    time=st.datetimes(datetime(2001, 1, 1), datetime(2036, 1, 1)),  # noqa: DTZ001 - the zone is UTC below
    kind=st.sampled_from(TIMES),
    order=st.sampled_from(ByteOrder),
)
def test_the_way_a_time_is_kept_is_among_what_fits(time: datetime, kind: ValueType, order: ByteOrder) -> None:
    truth = Source(0, Table.INPUT, 10, kind, order)
    digits = FORMS[kind].digits
    text = time.isoformat(timespec="seconds") + (f".{'0' * digits}" if digits else "") + "Z"
    words = words_at(Table.INPUT, 10, encode(truth, text))
    found = fits(parse_known(f"holding:10={text[:16]}"), words, Tolerance())
    assert any(fit.source == truth for fit in found)


@settings(deadline=None)  # the machine may be busy
@given(address=st.integers(0, 0xFFFF), said=st.sampled_from(["register", "holding", "input", "coil", "discrete"]))
def test_what_is_read_covers_every_place_that_is_judged(address: int, said: str) -> None:
    try:
        known = parse_known(f"{said}:{address}=230.5")
    except ProbeError:  # a number that is none
        return
    read = {
        (table, at)
        for table, spans in windows([known]).items()
        for first, end in spans
        for at in range(first, end)
    }
    for _, table, place, _ in places(known):
        assert (table, place) in read


@settings(deadline=None)  # the machine may be busy
@given(
    values=st.lists(st.floats(0.5, 5000, width=32).filter(lambda x: len(f"{x:.7g}") > 5), min_size=2, max_size=5),
    order=st.sampled_from(ByteOrder),
    placing=st.sampled_from(list(SHIFTS)),
)
def test_one_layout_explains_all_and_its_points_read_the_values(
    values: list[float], order: ByteOrder, placing: Placing
) -> None:
    words: dict[tuple[Table, int], int] = {}
    known = []
    for number, value in enumerate(values):
        source = Source(0, Table.HOLDING, 100 + 20 * number, ValueType.FLOAT32, order)
        words |= words_at(Table.HOLDING, source.address, encode(source, value))
        known.append(parse_known(f"holding:{source.address + SHIFTS[placing]}={value!r}"))
    found = layouts([fits(one, words, Tolerance()) for one in known])
    right = [layout for layout in found if layout.order is order and layout.placing is placing]
    assert len(right) == 1
    assert right[0].explained == len(values)
    assert found[0].explained == len(values)
    for one, fit in zip(known, right[0].fits, strict=True):
        assert fit is not None
        assert point(one, fit)["holding"] == fit.source.address


@st.composite
def devices(draw: st.DrawFn) -> tuple[set[int], int]:
    """Return which addresses a device has, up to 999, and how many it gives at once."""
    ends = sorted(draw(st.sets(st.integers(0, 999), max_size=12)))
    spans = zip(ends[::2], ends[1::2], strict=False)
    return {address for first, last in spans for address in range(first, last)}, draw(st.integers(1, 125))


def search(has: set[int], most: int, first: int, last: int, places: list[int]) -> tuple[Found, int]:
    """Return what is found, and with how many requests."""
    found, requests = Found(), 0
    asking = find_ranges(found, first, last, 125, places)
    try:
        span = next(asking)
        while True:
            requests += 1
            asked = range(span.address, span.end)
            assert first <= span.address < span.end <= last + 1
            assert span.count <= 125
            is_given = span.count <= most and has.issuperset(asked)
            span = asking.send(tuple(asked) if is_given else None)
    except StopIteration:
        return found, requests


@settings(deadline=None)  # the machine may be busy
@given(devices())
def test_a_thorough_search_finds_all_and_nothing_else(device: tuple[set[int], int]) -> None:
    has, most = device
    found, _ = search(has, most, 0, 999, samples(0, 999, is_thorough=True))
    assert set(found.words) == has
    assert found.words == {address: address for address in has}
    if found.refused_size is not None:
        assert found.refused_size == most + 1


@settings(deadline=None)  # the machine may be busy
@given(devices())
def test_a_usual_search_finds_every_run_with_a_likely_address(device: tuple[set[int], int]) -> None:
    has, most = device
    places = samples(0, 999)
    found, _ = search(has, most, 0, 999, places)
    assert set(found.words) <= has
    assert has & set(places) <= set(found.words)
    for address in found.words:  # a run is found to its ends
        for neighbour in (address - 1, address + 1):
            assert neighbour not in has or neighbour in found.words


@pytest.mark.parametrize("hole", [0, 1, 60, 123, 124])
def test_one_bad_register_in_a_block_costs_a_logarithm(hole: int) -> None:
    found, requests = search(set(range(125)) - {hole}, 125, 0, 124, [])
    assert set(found.words) == set(range(125)) - {hole}
    assert requests <= 2 * log2(125) + 2


def test_a_whole_table_takes_few_requests() -> None:
    places = samples(0, 0xFFFF)
    _, everything = search(set(range(0x10000)), 125, 0, 0xFFFF, places)
    assert everything == -(-0x10000 // 125)
    _, nothing = search(set(), 125, 0, 0xFFFF, places)
    assert nothing <= len(places) + 8 < 700
    found, some = search(set(range(100)) | set(range(0x5B00, 0x5B40)), 125, 0, 0xFFFF, places)
    assert [(run.address, run.count) for run in found.runs] == [(0, 100), (0x5B00, 0x40)]
    assert some < 700


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.one_of(st.none(), st.binary(max_size=20), st.sampled_from(ANSWERS)), min_size=1), st.data())
def test_whatever_is_answered_there_is_a_report_and_nothing_is_written(
    answers: list[bytes | None], data: st.DataObject
) -> None:
    turn = itertools.cycle(answers)
    sent: list[bytes] = []

    async def exchange(request: Mapping[str, object], _timeout_s: float) -> Mapping[str, object]:
        pdu = bytes.fromhex(str(request["pdu"]))
        sent.append(pdu)
        answer = next(turn)
        if answer is None:
            raise TimeoutError
        return {"pdu": answer.hex()} if answer else data.draw(st.sampled_from([{"failed": "f"}, {"lost": "l"}]))

    line = HeldLine("tcp://127.0.0.1:502", ("meter",), {"host": "127.0.0.1"}, exchange)
    written = {"units": ["1..2"], "addresses": ["0..9"], "know": ["holding:4=7", "holding:6=text", "coil:3=on"]}
    try:
        report = asyncio.run(run("127.0.0.1", written, Probing(QuickClock(), (line,), lambda *_: None)))
    except DeviceUnavailableError:
        assert b"" in answers
    else:
        json.dumps(report.body)
        assert all(len(row) <= len(table.header) for table in report.tables for row in table.rows)
    assert {pdu[0] for pdu in sent} <= {1, 2, 3, 4, 0x2B}
