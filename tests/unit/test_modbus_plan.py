"""How points become requests."""

import struct
from dataclasses import replace

import pytest

from edge_agent.errors import ExchangeError
from edge_agent_modbus.cost import LineSpeed
from edge_agent_modbus.decode import Source, ValueType
from edge_agent_modbus.pdu import ExceptionReply, Table, read_payload, read_pdu
from edge_agent_modbus.plan import Gap, Limits, ReadRequest, gap_between, plan_reads


def plan(*sources: Source, refused: frozenset[int] = frozenset(), limits: Limits | None = None) -> list[str]:
    return [str(request) for request in plan_reads(1, sources, refused, limits or Limits())]


def floats(count: int, first: int = 0) -> list[Source]:
    return [Source(i, Table.HOLDING, first + 2 * i, ValueType.FLOAT32) for i in range(count)]


def words(*addresses: int, table: Table = Table.HOLDING) -> list[Source]:
    return [Source(i, table, address, ValueType.UINT16) for i, address in enumerate(addresses)]


def test_a_request_prints_what_goes_over_the_wire() -> None:
    assert plan(*floats(62)) == ["unit 1 FC3 holding 0..123 (124 registers): 62 points"]
    assert plan(Source(0, Table.COIL, 17, ValueType.BOOL)) == ["unit 1 FC1 coil 17..17 (1 coil): 1 point"]


def test_a_point_is_never_split_over_two_requests() -> None:
    assert plan(*floats(63)) == [
        "unit 1 FC3 holding 0..123 (124 registers): 62 points",
        "unit 1 FC3 holding 124..125 (2 registers): 1 point",
    ]


def test_gaps_are_not_read() -> None:
    assert plan(*words(0, 1, 3)) == [
        "unit 1 FC3 holding 0..1 (2 registers): 2 points",
        "unit 1 FC3 holding 3..3 (1 register): 1 point",
    ]


def filled(*sources: Source, speed: LineSpeed | None = None, barred: tuple[Gap, ...] = ()) -> list[str]:
    requests = plan_reads(1, sources, frozenset(), Limits(gaps=True), speed=speed or LineSpeed(), barred=barred)
    return [str(request) for request in requests]


def test_a_gap_is_read_where_that_takes_less_time_than_another_request() -> None:
    both = ["unit 1 FC3 holding 0..31 (32 registers, 30 of them in gaps): 2 points"]
    assert filled(*words(0, 31)) == both, "a round trip is worth thousands of registers"
    slow = LineSpeed.serial(9600)  # 26 ms a request, 2.3 ms a register
    assert len(filled(*words(0, 31), speed=slow)) == 2
    assert filled(*words(0, 5), speed=slow) == [
        "unit 1 FC3 holding 0..5 (6 registers, 4 of them in gaps): 2 points"
    ]
    assert filled(*words(0, 31), speed=LineSpeed.serial(9600, pause_s=0.1)) == both


def test_coils_cost_by_the_byte() -> None:
    slow = LineSpeed(answer_ns=0)  # a request is 21 bytes, and nothing else
    both = [Source(i, Table.COIL, address, ValueType.BOOL) for i, address in enumerate((0, 183))]
    assert len(filled(*both, speed=slow)) == 1, "23 bytes of data, not one in each of two and 21 more"
    assert len(filled(both[0], replace(both[1], address=184), speed=slow)) == 2


def test_requests_are_cut_where_the_widest_gap_is() -> None:
    assert filled(*words(*range(50), 110, *range(150, 200)), speed=LineSpeed.serial(115200)) == [
        "unit 1 FC3 holding 0..49 (50 registers): 50 points",
        "unit 1 FC3 holding 110..199 (90 registers, 39 of them in gaps): 51 points",
    ]


def test_a_gap_that_the_device_refuses_is_not_read_again() -> None:
    barred = Gap(Table.HOLDING, 7, 9)
    assert len(filled(*words(0, 6, 9, 12), barred=(barred,))) == 2
    assert len(filled(*words(0, 6, 7, 9, 12), barred=(barred,))) == 2
    assert len(filled(*words(0, 6, 7, 8, 9, 12), barred=(barred,))) == 1, "points are asked for all the same"
    assert len(filled(*words(0, 7), barred=(barred,))) == len(filled(*words(8, 12), barred=(barred,))) == 1, (
        "beside"
    )
    assert len(filled(*words(0, 6, 9, 12), barred=(barred._replace(table=Table.INPUT),))) == 1


def test_halves_that_are_both_answered_tell_which_gap_is_refused() -> None:
    (request,) = plan_reads(1, words(0, 10, 20, 30), frozenset(), Limits(gaps=True))
    lower, upper = request.split()
    assert (str(lower), str(upper)) == (
        "unit 1 FC3 holding 0..10 (11 registers, 9 of them in gaps): 2 points",
        "unit 1 FC3 holding 20..30 (11 registers, 9 of them in gaps): 2 points",
    )
    assert gap_between(lower, upper) == Gap(Table.HOLDING, 11, 20)
    (whole,) = plan_reads(1, words(0, 1), frozenset(), Limits())
    assert gap_between(*whole.split()) is None


def test_times_and_sizes_are_those_of_the_standard() -> None:
    assert (LineSpeed().sent_bytes, LineSpeed().received_bytes(Table.INPUT, 125)) == (12, 259)
    assert LineSpeed().received_bytes(Table.COIL, 9) == 11
    rtu = LineSpeed.serial(9600, character_bits=10, turn_around_ns=0)  # Serial Line V1.02 §2.5.1
    assert (rtu.sent_bytes, rtu.received_bytes(Table.HOLDING, 125)) == (8, 255)
    assert rtu.exchange_ns(Table.HOLDING, 2) == pytest.approx((8 + 9 + 2 * 3.5) * 10 / 9600 * 1e9, rel=1e-4)
    assert LineSpeed.serial(115200, turn_around_ns=0).wait_ns == 2 * 1_750_000
    plain = LineSpeed.serial(9600, is_ascii=True)
    assert (plain.sent_bytes, plain.received_bytes(Table.HOLDING, 1)) == (17, 15)  # ":010300000001FB" and CR LF


def test_tables_do_not_mix() -> None:
    sources = [Source(i, table, 0, ValueType.BOOL) for i, table in enumerate(Table)]
    assert [line.split()[2] for line in plan(*sources)] == ["FC1", "FC2", "FC3", "FC4"]


def test_points_that_overlap_share_a_request() -> None:
    assert plan(*words(5, 5, 5)) == ["unit 1 FC3 holding 5..5 (1 register): 3 points"]


def test_a_device_that_gives_less_is_asked_for_less() -> None:
    limits = Limits(registers=4, coils=10)
    assert plan(*words(*range(9)), limits=limits)[-1] == "unit 1 FC3 holding 8..8 (1 register): 1 point"
    coils = [Source(i, Table.COIL, i, ValueType.BOOL) for i in range(11)]
    assert len(plan(*coils, limits=limits)) == 2


def test_a_refused_point_is_alone_and_the_others_close_ranks() -> None:
    assert plan(*words(0, 1, 2, 3, 4), refused=frozenset({2})) == [
        "unit 1 FC3 holding 0..1 (2 registers): 2 points",
        "unit 1 FC3 holding 2..2 (1 register): 1 point",
        "unit 1 FC3 holding 3..4 (2 registers): 2 points",
    ]


def test_nothing_to_read_is_no_request() -> None:
    assert plan() == []


def test_a_request_splits_into_halves_that_read_no_gap() -> None:
    text = Source(0, Table.HOLDING, 0, ValueType.STRING, length_bytes=20)
    (request,) = plan_reads(1, [text, *words(1, 5)], frozenset(), Limits())
    assert [str(part) for part in request.split()] == [
        "unit 1 FC3 holding 0..9 (10 registers): 1 point",
        "unit 1 FC3 holding 1..1 (1 register): 1 point",
        "unit 1 FC3 holding 5..5 (1 register): 1 point",
    ]


def test_bits_of_one_register_are_not_split() -> None:
    bits = [Source(i, Table.HOLDING, 3, ValueType.BOOL, bit=i) for i in range(16)]
    (request,) = plan_reads(1, bits, frozenset(), Limits())
    assert request.split() == ()


def test_request_bytes_are_those_of_the_specification() -> None:
    assert read_pdu(Table.HOLDING, 107, 3) == bytes.fromhex("03006b0003")  # V1.1b3 §6.3, example
    assert read_pdu(Table.COIL, 19, 19) == bytes.fromhex("0100130013")  # §6.1, example


def test_reply_bytes_are_those_of_the_specification() -> None:
    assert read_payload(Table.HOLDING, 3, bytes.fromhex("0306022b00000064")) == bytes.fromhex("022b00000064")
    assert read_payload(Table.COIL, 19, bytes.fromhex("0103cd6b05")) == bytes.fromhex("cd6b05")
    assert read_payload(Table.HOLDING, 3, bytes.fromhex("8302")) == ExceptionReply(2)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "03",
        "0302",
        "0304022b0000",
        "0306022b0000",
        "0306022b0000006400",
        "0406022b00000064",
        "8402",
        "830200",
        "0308" + 8 * "00",
    ],
)
def test_a_reply_that_does_not_fit_its_request_is_none(reply: str) -> None:
    with pytest.raises(ExchangeError, match="function 3"):
        read_payload(Table.HOLDING, 3, bytes.fromhex(reply))


def test_a_plan_decodes_what_it_asks_for() -> None:
    requests: tuple[ReadRequest, ...] = plan_reads(9, words(*range(200, 330)), frozenset(), Limits())
    for request in requests:
        _, address, count = struct.unpack(">BHH", request.pdu)
        (column,) = request.decode(struct.pack(f">{count}H", *range(address, address + count)))
        assert [200 + point for point in column.points] == list(column.values or ())
